//! Properties of the state machine, over arbitrary situations and over a small model of the API.

mod arbitrary;
mod world;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use teardownd::core::assess;
use teardownd::core::command::Action;
use teardownd::core::machine::{Decision, Situation, Wake, decide, is_edge};
use teardownd::core::teardown::State;

use arbitrary::{now, policy, situation};

/// The same cases each time; `TEARDOWND_SEED` looks at others.
fn config() -> ProptestConfig {
    let seed = std::env::var("TEARDOWND_SEED").ok().and_then(|seed| seed.parse().ok());
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed.unwrap_or(1)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Total over every (state, observation); what it answers is always lawful.
    #[test]
    fn decide_is_total_and_lawful(parts in situation(), dice in 0.0..1.0) {
        let policy = policy();
        let s = Situation {
            teardown: &parts.teardown,
            memory: &parts.memory,
            seen: &parts.seen,
            policy: &policy,
            now: now(),
            dice,
        };
        let state = parts.teardown.state;
        match decide(&s) {
            Decision::Read(reads) => {
                prop_assert!(!reads.is_empty(), "a wish to read nothing never ends");
                prop_assert!(!state.is_terminal());
            }
            Decision::Transition(step) => {
                prop_assert!(step.state == state || is_edge(state, step.state));
                // Every non-terminal state has a wake-up time, and no terminal one has.
                prop_assert_eq!(step.state.is_terminal(), step.wake == Wake::Never);
                // Terminal states absorb.
                if state.is_terminal() {
                    prop_assert_eq!(step.state, state);
                    prop_assert!(step.intents.is_empty() && step.resends.is_empty());
                }
                // Only an operator aborts.
                prop_assert!(step.state != State::Aborted || state == State::Aborted);
                // Nothing is sent on the way into a wait or an end.
                if step.wake != Wake::Now {
                    prop_assert!(step.intents.is_empty() && step.resends.is_empty());
                }
                let deletes = step.intents.iter().any(|i| i.action == Action::DeleteCustomer)
                    || step.resends.iter().any(|id| parts.is_delete(*id));
                // Invariant 7: no DELETE while anything is active or unknown.
                if deletes {
                    let inventory = assess::assess(&parts.seen);
                    prop_assert!(inventory.is_some_and(|i| i.proves_nothing_active()));
                    prop_assert_eq!(step.state, State::Deleting);
                }
                // Invariant 4: one unsettled command per resource.
                for intent in &step.intents {
                    prop_assert!(
                        !parts.memory.commands.iter().any(|c| {
                            c.is_unsettled() && c.intent.resource == intent.resource
                        }),
                        "{} has an unsettled command", intent.resource
                    );
                }
                // Invariant 8: `deleted` only after the customer and the list agree.
                if step.state == State::Deleted && state != State::Deleted {
                    prop_assert!(parts.reads_as_gone());
                    prop_assert!(parts.memory.delete_is_out());
                }
            }
        }
    }

    /// Under an API that is fair (it answers, and what it accepts it does in the end) every customer
    /// is deleted, whatever it bought, whatever is lost or refused on the way, and however often it is
    /// begun anew. No command is left without an end.
    #[test]
    fn progress_under_a_fair_api(mut world in world::worlds()) {
        let passes = world.run(4000);
        prop_assert_eq!(world.teardown.state, State::Deleted, "after {} passes: {:?}", passes, world);
        prop_assert!(world.breaches.is_empty(), "{:?}", world.breaches);
        prop_assert_eq!(world.unsettled(), 0, "{:?}", world);
    }
}

#[test]
fn a_savings_plan_needs_a_person_and_leaves_the_tenant_untouched() {
    let mut world = world::World::with_a_savings_plan();
    world.run(50);
    assert_eq!(world.teardown.state, State::Failed);
    assert_eq!(world.teardown.reason, Some(teardownd::core::reason::Reason::BlockedUncancellable));
    assert_eq!(world.writes, 0);
}

#[test]
fn invariant_7_the_sixth_refused_delete_with_something_active_behind_it_is_the_last() {
    for (rounds, ends) in [(4, false), (5, true)] {
        let parts = arbitrary::refused_delete(rounds);
        let decision = decide(&Situation {
            teardown: &parts.teardown,
            memory: &parts.memory,
            seen: &parts.seen,
            policy: &policy(),
            now: now(),
            dice: 0.5,
        });
        let Decision::Transition(step) = decision else { panic!("{decision:?}") };
        let expected = if ends { State::Failed } else { State::OrdersCancelling };
        assert_eq!((step.state, step.rounds), (expected, if ends { 5 } else { rounds + 1 }));
    }
}

#[test]
fn the_edges_are_those_of_the_design() {
    let edges: Vec<(State, State)> = State::ALL
        .into_iter()
        .flat_map(|from| State::ALL.map(|to| (from, to)))
        .filter(|(from, to)| is_edge(*from, *to))
        .collect();
    use State::{
        Aborted, Deleted, Deleting, EntitlementsFetched, Failed, OrdersCancelling, Polling, Queued,
    };
    assert_eq!(
        edges,
        [
            (Queued, EntitlementsFetched),
            (Queued, Aborted),
            (Queued, Failed),
            (EntitlementsFetched, OrdersCancelling),
            (EntitlementsFetched, Deleting),
            (EntitlementsFetched, Aborted),
            (EntitlementsFetched, Failed),
            (OrdersCancelling, Polling),
            (OrdersCancelling, Aborted),
            (OrdersCancelling, Failed),
            (Polling, OrdersCancelling),
            (Polling, Deleting),
            (Polling, Aborted),
            (Polling, Failed),
            (Deleting, OrdersCancelling),
            (Deleting, Deleted),
            (Deleting, Aborted),
            (Deleting, Failed),
            (Failed, Queued),
        ]
    );
}
