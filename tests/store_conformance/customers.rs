//! The customers of an account, and since when each is known.

use teardownd::core::ids::AccountName;
use teardownd::store::{CustomersRead, KnownCustomers, ListedCustomer};

use super::{Backend, Bench, at, default_account, tenant};

fn list(seconds: i64, numbers: &[u32]) -> CustomersRead {
    let listed = |number: &u32| ListedCustomer {
        tenant_id: tenant(*number),
        domain: Some(format!("t{number}-{seconds}.example")),
    };
    CustomersRead {
        at: at(seconds),
        count: numbers.len(),
        customers: numbers.iter().map(listed).collect(),
    }
}

async fn known(bench: &Bench) -> KnownCustomers {
    bench.store.customers(&default_account()).await.unwrap().unwrap()
}

fn since(known: &KnownCustomers) -> Vec<(u32, i64)> {
    let number = |id| (1..100).find(|number| tenant(*number) == id).unwrap();
    let age = |known: jiff::Timestamp| known.duration_since(at(0)).as_secs();
    known.customers.iter().map(|c| (number(c.tenant_id), age(c.first_seen_at))).collect()
}

pub(crate) async fn customers_are_known_since_they_were_first_listed(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let note = async |read: &CustomersRead| {
        bench.store.note_customers(&default_account(), read).await.unwrap();
    };
    assert_eq!(bench.store.customers(&default_account()).await.unwrap(), None);
    note(&list(10, &[1, 2])).await;
    note(&list(20, &[3, 2])).await;
    let found = known(&bench).await;
    assert_eq!(since(&found), [(2, 10), (3, 20)]);
    assert_eq!((found.read_at, found.count), (at(20), 2));
    assert_eq!(found.customers[0].domain.as_deref(), Some("t2-20.example"));
    note(&list(30, &[2])).await;
    assert_eq!(since(&known(&bench).await), [(2, 10)]);
    // Whoever comes back is new.
    note(&list(40, &[1, 2])).await;
    assert_eq!(since(&known(&bench).await), [(1, 40), (2, 10)]);
    assert_eq!(bench.store.customers(&AccountName::new("other")).await.unwrap(), None);
}

pub(crate) async fn an_older_list_is_passed_over(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    for read in [list(20, &[1]), list(10, &[1, 2, 3])] {
        bench.store.note_customers(&default_account(), &read).await.unwrap();
    }
    let found = known(&bench).await;
    assert_eq!((found.read_at, found.count, since(&found)), (at(20), 1, vec![(1, 20)]));
}
