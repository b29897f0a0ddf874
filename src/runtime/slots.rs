//! How the accounts share `engine.max_in_flight`.

/// What an account has of the slots, and could use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// Tenants that are worked on.
    pub(super) busy: usize,
    /// So many its request budget serves.
    pub(super) most: usize,
}

/// How many more tenants each account may take on.
///
/// Half of its even share is an account's own, at least one slot: nobody else ever takes that, so an
/// account whose calls hang cannot keep another one from its work. The other halves are common, so
/// that one account with work among idle ones is about as fast as it would be alone. What is free of
/// them is offered to all in equal parts, look by look.
pub(super) fn offers(max_in_flight: usize, demands: &[Demand]) -> Vec<usize> {
    let accounts = demands.len().max(1);
    let own = (max_in_flight / accounts / 2).max(1);
    let common = max_in_flight.saturating_sub(own * accounts);
    let borrowed: usize = demands.iter().map(|demand| demand.busy.saturating_sub(own)).sum();
    let free = common.saturating_sub(borrowed);
    let offer = |(index, demand): (usize, &Demand)| {
        let part = free / accounts + usize::from(index < free % accounts);
        let offer = own.saturating_sub(demand.busy) + part;
        offer.min(demand.most.saturating_sub(demand.busy))
    };
    demands.iter().enumerate().map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(max_in_flight: usize, busy: &[usize]) -> Vec<usize> {
        let demand = |busy: &usize| Demand { busy: *busy, most: 1000 };
        offers(max_in_flight, &busy.iter().map(demand).collect::<Vec<_>>())
    }

    #[test]
    fn one_account_has_every_slot() {
        assert_eq!(offered(64, &[0]), [64]);
        assert_eq!(offered(64, &[60]), [4]);
        assert_eq!(offered(1, &[0]), [1]);
    }

    #[test]
    fn one_that_works_alone_gets_all_but_what_is_the_others_own() {
        let mut busy = 0;
        while let [offer, ..] = offered(64, &[busy, 0, 0])[..]
            && offer > 0
        {
            busy += offer;
        }
        assert_eq!(busy, 64 - 2 * 10);
    }

    #[test]
    fn an_account_has_its_own_half_whatever_the_others_hold() {
        assert_eq!(offered(64, &[54, 0]), [0, 16]);
        assert_eq!(offered(64, &[44, 0, 7]), [0, 10, 3]);
    }

    #[test]
    fn never_are_there_more_than_the_limit_but_one_for_each_account() {
        for max_in_flight in 1..40 {
            for accounts in 1..6 {
                let mut busy = vec![0; accounts];
                for _ in 0..100 {
                    let offers = offered(max_in_flight, &busy);
                    busy = busy.iter().zip(offers).map(|(busy, offer)| busy + offer).collect();
                }
                assert_eq!(busy.iter().sum::<usize>(), max_in_flight.max(accounts));
                assert!(busy.iter().all(|busy| *busy > 0));
            }
        }
    }

    #[test]
    fn nobody_gets_more_than_its_budget_serves() {
        let demands = [Demand { busy: 3, most: 5 }, Demand { busy: 9, most: 5 }];
        assert_eq!(offers(64, &demands), [2, 0]);
    }
}
