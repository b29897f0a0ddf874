//! From options to a filter.

use super::args::{Filters, Selection};
use super::exit::{Exit, Failure};
use crate::store::Filter;

impl Filters {
    /// The store's filter.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            account: self.account.clone(),
            tenants: self.tenants.clone(),
            batch: self.batch.clone(),
            states: self.state.clone(),
            ..Filter::default()
        }
    }
}

impl Selection {
    /// The newest rows that are meant. Everything is meant only if that is said.
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        let filter = self.filters.filter();
        let chosen = filter != Filter::default();
        if chosen == self.all {
            let message = if chosen {
                "--all does not go together with tenants or filters"
            } else {
                "which teardowns? none was named"
            };
            return Err(Failure::new(Exit::Usage, message)
                .hint("name tenants, --batch, --account or --state; --all is everything"));
        }
        Ok(Filter { latest_only: true, ..filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_meant_only_if_that_is_said() {
        let none = Selection { filters: Filters::default(), all: false };
        assert_eq!(none.filter().unwrap_err().exit, Exit::Usage);
        let all = Selection { filters: Filters::default(), all: true };
        assert!(all.filter().unwrap().latest_only);
        let batch = Filters { batch: Some("b".to_owned()), ..Filters::default() };
        let both = Selection { filters: batch.clone(), all: true };
        assert_eq!(both.filter().unwrap_err().exit, Exit::Usage);
        assert!(Selection { filters: batch, all: false }.filter().is_ok());
    }
}
