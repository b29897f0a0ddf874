//! The store's duties on every engine, as cases that know only its methods.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod budget;
pub(crate) mod commits;
pub(crate) mod consent;
pub(crate) mod customers;
pub(crate) mod faults;
pub(crate) mod leases;
pub(crate) mod operators;
pub(crate) mod protections;
pub(crate) mod queue;
pub(crate) mod replicas;
pub(crate) mod sends;
pub(crate) mod survey;
pub(crate) mod upkeep;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{Timestamp, ToSpan as _};
use teardownd::core::command::{Action, Answer, Intent, NewCommand, Outcome};
use teardownd::core::domain::DomainPattern;
use teardownd::core::gates::{SafetyPolicy, Verdict};
use teardownd::core::ids::{AccountName, CommandId, TeardownId, TenantId};
use teardownd::core::inventory::Customer;
use teardownd::core::key::ResourceKey;
use teardownd::core::machine::Transition;
use teardownd::core::observation::{Census, CustomerSeen, Entitlements, Observation, Seen};
use teardownd::core::teardown::{NewTeardown, State, Teardown};
use teardownd::store::{
    ClaimRequest, Claimed, Commit, Committed, EnqueueOutcome, Filter, OperatorRequest,
    RequestEffect, Slots, Store, Verb,
};
use uuid::Uuid;

/// Where the data of one case lives. Opening it again finds what was stored.
#[async_trait]
pub(crate) trait Backend: Debug + Send + Sync {
    /// Opens the store.
    async fn open(&self) -> Arc<Store>;
}

/// Runs every case against a backend, each as a test of its own. Without a backend it is skipped, which the
/// expression says.
#[macro_export]
macro_rules! conformance {
    ($backend:ident, $new:expr) => {
        mod $backend {
            $crate::conformance!(@cases $new;
                queue: an_enqueue_answers_each_row, an_enqueue_is_all_or_nothing,
                    invariant_1_no_named_domain_is_dropped_for_an_active_row,
                    an_enqueue_starts_the_history, lists_are_filtered;
                leases: claims_go_by_priority_and_then_by_waiting_time,
                    claims_go_to_what_becomes_uncancellable_soonest,
                    claims_keep_to_slots_and_times, invariant_10_a_new_claim_has_a_new_fence,
                    invariant_10_a_lost_lease_refuses_every_write,
                    invariant_10_a_lease_given_back_refuses_every_write,
                    invariant_10_take_over_frees_every_lease_at_once,
                    renewals_name_the_lost_leases, next_due_is_the_earliest_time,
                    a_deadline_does_not_run_before_not_before;
                accounts: stopped_accounts_are_not_claimed, trouble_is_probed_by_one_row,
                    an_outage_that_ended_before_the_row_was_parked_does_not_hold_it,
                    throttling_closes_the_account_until_its_end, trouble_keeps_its_beginning,
                    a_second_halt_keeps_the_first_reason, stops_stop_the_clock_of_deadlines,
                    a_pause_ends_by_itself, a_probe_can_be_had_at_once,
                    a_gate_that_opens_lets_its_rows_go,
                    invariant_2_a_resume_does_not_lift_a_halt;
                commits: a_commit_stores_what_it_says, invariant_11_illegal_moves_are_refused,
                    invariant_12_terminal_rows_stay, a_wait_parks_the_row_with_its_reason,
                    stale_facts_leave_the_row_as_it_is, a_hold_by_a_guard_is_stored,
                    a_halt_by_a_guard_stops_the_account,
                    invariant_4_one_unsettled_command_per_resource,
                    invariant_2_the_first_write_goes_out_alone,
                    invariant_3_deletion_caps_hold_with_a_clock_set_back,
                    purchases_are_merged, a_refused_commit_changes_nothing,
                    an_end_withdraws_what_was_not_sent;
                sends: invariant_3_a_send_asks_the_gates_again, invariant_4_a_send_is_counted_first,
                    a_guard_at_the_send_withdraws_only_what_was_not_sent,
                    invariant_4_answers_settle_once, invariant_4_reading_settles,
                    a_send_needs_its_own_unsettled_command,
                    invariant_2_an_unanswered_first_step_keeps_nobody_waiting,
                    invariant_2_a_first_step_starts_beside_no_call_under_way,
                    invariant_2_a_held_first_step_keeps_nobody_waiting;
                faults: failures_are_stored_with_the_reason_they_led_to,
                    failures_are_bounded_and_go_with_their_teardown,
                    the_cross_check_is_kept_until_a_retry;
                operators: holds_and_releases, invariant_7_aborts_stop_at_a_delete,
                    aborts_say_what_was_accepted_and_what_may_have_been, retries_start_over_and_keep_history,
                    a_pause_of_everything, a_second_pause_never_shortens_the_first, halts_are_lifted_by_a_person,
                    an_acknowledgement_ends_with_what_it_was_about,
                    priority_and_earliest_time_are_set;
                consent: invariant_3_outside_its_windows_nothing_is_written,
                    an_account_that_is_not_armed_holds_its_rows,
                    disarming_holds_what_comes_after, nothing_is_written_before_an_approval,
                    an_approval_leaves_other_holds_alone,
                    invariant_3_an_operators_hold_stands_beside_a_guards, what_appears_after_an_approval_holds_the_teardown,
                    an_approval_does_not_count_after_a_retry, who_enqueued_may_not_approve,
                    a_saved_plan_is_what_is_approved, a_large_batch_waits_for_approval;
                protections: invariant_1_a_protected_tenant_is_refused_at_enqueue,
                    invariant_3_a_protection_stops_a_write_in_its_own_transaction,
                    lifting_a_protection_ends_the_guards_hold_and_no_other,
                    invariant_7_a_protection_stands_although_a_delete_is_out,
                    a_protection_aborts_what_is_under_way, a_protection_holds_until_it_is_lifted;
                audit: the_audit_holds_everything_in_time_order,
                    the_audit_says_what_exactly_was_asked_for,
                    the_audit_is_kept_beyond_the_rows;
                customers: customers_are_known_since_they_were_first_listed,
                    an_older_list_is_passed_over;
                budget: invariant_9_windows_hold_no_more_than_the_budget,
                    invariant_9_a_customer_takes_no_more_than_its_part,
                    invariant_9_reservations_survive_reopening,
                    invariant_9_a_closed_account_gets_nothing,
                    invariant_9_no_earlier_time_frees_what_was_reserved,
                    invariant_9_random_asks_never_exceed_the_budget;
                upkeep: invariant_11_unknown_accounts_hold_their_rows,
                    invariant_12_only_terminal_rows_are_purged,
                    a_delete_is_remembered_while_its_tenant_has_a_row,
                    the_sign_of_life, requests_to_reload_are_answered_once,
                    what_waits_because_of_an_answer_is_woken_by_new_codes;
                replicas: an_account_has_its_limit_over_all_processes,
                    invariant_1_an_account_that_became_another_partner_is_nobodys_of_before,
                    an_account_that_another_replica_knows_holds_no_row,
                    a_job_is_done_by_one_replica_at_a_time,
                    a_reload_is_answered_by_every_replica_that_works,
                    invariant_2_what_a_former_partner_answers_is_not_the_new_ones,
                    invariant_4_an_answer_to_an_earlier_send_overwrites_nothing,
                    invariant_2_the_canary_of_a_replica_that_is_gone_stops_nobody_for_ever;
                survey: a_survey_counts_what_stands_alike,
                    a_survey_counts_commands_deletions_and_requests,
                    a_survey_tells_every_move_once,
                    what_guards_keep_out_of_the_queue_is_kept_and_counted;
            );
        }
    };
    (@cases $new:expr; $($module:ident: $($case:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $case() {
                if let Some(backend) = $new.await {
                    $crate::suite::$module::$case(&backend).await;
                }
            }
        )+)+
    };
}

/// The beginning of every case.
pub(crate) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// So many seconds after the beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    start() + seconds.seconds()
}

/// The tenant of a number.
pub(crate) fn tenant(number: u32) -> TenantId {
    TenantId::new(Uuid::from_u128(0xa000_0000_0000_4000_8000_0000_0000_0000 + u128::from(number)))
}

/// The id of a command.
pub(crate) fn command_id(number: u32) -> CommandId {
    CommandId(Uuid::from_u128(0xc000_0000_0000_4000_8000_0000_0000_0000 + u128::from(number)))
}

/// The account of most cases.
pub(crate) fn default_account() -> AccountName {
    AccountName::new("default")
}

/// A tenant to be queued.
pub(crate) fn wanted(number: u32) -> NewTeardown {
    NewTeardown {
        account: default_account(),
        tenant_id: tenant(number),
        expected_domain: None,
        batch: None,
        priority: 0,
        note: None,
        requested_by: Some("ann".to_owned()),
        not_before: None,
        again: false,
    }
}

/// Settings under which every guard is content.
pub(crate) fn policy() -> SafetyPolicy {
    let mut policy = SafetyPolicy::new(tenant(999_999));
    policy.sandbox = true;
    policy.allow_domains = vec![DomainPattern::parse("*.onmicrosoft.com").unwrap()];
    policy
}

/// Fresh facts about a tenant, with nothing active.
pub(crate) fn seen(tenant: TenantId, now: Timestamp) -> Observation {
    let customer = Customer {
        id: Some(tenant.to_string()),
        tenant_id: Some(tenant.to_string()),
        domain: Some("t.onmicrosoft.com".to_owned()),
        company_name: None,
        relationship: Some("reseller".to_owned()),
    };
    Observation {
        customer: Some(Seen::at_once(CustomerSeen::Present(customer.clone()), now)),
        census: Some(Seen::at_once(
            Census { customers: 3, entry: Some(customer), again: false },
            now,
        )),
        orders: Some(Seen::at_once(Vec::new(), now)),
        subscriptions: Some(Seen::at_once(Vec::new(), now)),
        entitlements: Some(Seen::at_once(Entitlements::Listed(Vec::new()), now)),
        ..Observation::default()
    }
}

/// A cancellation of an order, as a new command.
pub(crate) fn cancel(number: u32, order: &str) -> NewCommand {
    NewCommand {
        id: command_id(number),
        intent: Intent {
            action: Action::CancelOrder,
            reservation: false,
            resource: ResourceKey::order(order),
            body: Some(format!("{{\"id\":\"{order}\",\"status\":\"cancelled\"}}")),
            if_match: Some("\"etag\"".to_owned()),
        },
    }
}

/// A DELETE of the customer, as a new command.
pub(crate) fn delete(number: u32) -> NewCommand {
    NewCommand {
        id: command_id(number),
        intent: Intent {
            action: Action::DeleteCustomer,
            reservation: false,
            resource: ResourceKey::Customer,
            body: None,
            if_match: None,
        },
    }
}

/// A commit that moves a claimed row to a state and does nothing else.
pub(crate) fn step<'a>(
    claimed: &Claimed,
    state: State,
    seen: &'a Observation,
    policy: &'a SafetyPolicy,
) -> Commit<'a> {
    Commit {
        teardown: claimed.teardown.id,
        fence: claimed.fence,
        transition: Transition::to(state),
        purchases: None,
        domain: None,
        cross_checked: None,
        failures: Vec::new(),
        commands: Vec::new(),
        seen,
        policy,
    }
}

/// What an accepted command taught.
pub(crate) fn accepted() -> Answer {
    Answer { outcome: Some(Outcome::Accepted), http_status: Some(200), ..Answer::default() }
}

/// An operator's request about the rows of a filter.
pub(crate) fn request(verb: Verb, filter: Filter) -> OperatorRequest {
    OperatorRequest {
        reason: Some("as agreed".to_owned()),
        ..OperatorRequest::new(verb, filter, "bob")
    }
}

/// The filter for one tenant.
pub(crate) fn only(number: u32) -> Filter {
    Filter { tenants: vec![tenant(number)], ..Filter::default() }
}

/// Short forms of calls that most cases make.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The store in question.
    pub store: Arc<Store>,
    /// The settings of the guards.
    pub policy: SafetyPolicy,
}

impl Bench {
    /// A bench over a fresh backend.
    pub(crate) async fn new(backend: &dyn Backend) -> Self {
        Self { store: backend.open().await, policy: policy() }
    }

    /// Queues tenants by number at a time.
    pub(crate) async fn queue(&self, numbers: impl IntoIterator<Item = u32>, now: Timestamp) {
        let rows: Vec<_> = numbers.into_iter().map(wanted).collect();
        for (_, outcome) in self.store.enqueue(&rows, now).await.unwrap() {
            assert_eq!(outcome, EnqueueOutcome::Queued);
        }
    }

    /// Claims up to so many rows of the default account.
    pub(crate) async fn claim(&self, slots: usize, now: Timestamp) -> Vec<Claimed> {
        let request = ClaimRequest {
            owner: "host/1".to_owned(),
            ttl: Duration::from_secs(60),
            slots: vec![Slots {
                account: default_account(),
                free: slots,
                most: usize::MAX,
                identity: None,
            }],
            working: vec![],
        };
        self.store.claim(&request, now).await.unwrap()
    }

    /// Claims the one row that is due.
    pub(crate) async fn claim_one(&self, now: Timestamp) -> Claimed {
        let mut claimed = self.claim(1, now).await;
        assert_eq!(claimed.len(), 1, "one row should be due");
        claimed.remove(0)
    }

    /// Moves a claimed row through these states and keeps its lease.
    pub(crate) async fn walk(&self, claimed: &Claimed, states: &[State], now: Timestamp) {
        let seen = seen(claimed.teardown.tenant_id, now);
        for state in states {
            if *state == State::Deleted {
                self.delete_accepted(claimed, now).await;
            }
            self.store.commit(step(claimed, *state, &seen, &self.policy), now).await.unwrap();
        }
    }

    /// Asks the gates of the account, as the scheduler does at each look.
    pub(crate) async fn recheck(&self, now: Timestamp) {
        let policies = [(default_account(), self.policy.clone())].into();
        self.store.recheck(&policies, now, now).await.unwrap();
    }

    /// Has the DELETE of a row in `deleting` accepted, unless that was done: only then may it end.
    pub(crate) async fn delete_accepted(&self, claimed: &Claimed, now: Timestamp) {
        let row = &claimed.teardown;
        let commands = self.store.commands(&row.account, row.tenant_id).await.unwrap();
        if commands.iter().any(|c| c.outcome == Some(Outcome::Accepted)) {
            return;
        }
        let number = 800_000 + u32::try_from(row.id.0).unwrap();
        let done = self.command(claimed, State::Deleting, vec![delete(number)], now).await;
        assert_eq!(done.admitted.len(), 1, "{:?}", done.verdict);
        self.send_accepted(claimed, number, now).await;
    }

    /// Commits commands with fresh facts; the row goes to the state.
    pub(crate) async fn command(
        &self,
        claimed: &Claimed,
        state: State,
        commands: Vec<NewCommand>,
        now: Timestamp,
    ) -> Committed {
        let seen = seen(claimed.teardown.tenant_id, now);
        let commit = Commit { commands, ..step(claimed, state, &seen, &self.policy) };
        self.store.commit(commit, now).await.unwrap()
    }

    /// Begins to send a command with fresh facts.
    pub(crate) async fn send(&self, claimed: &Claimed, number: u32, now: Timestamp) -> Verdict {
        let seen = seen(claimed.teardown.tenant_id, now);
        self.store
            .begin_send(
                command_id(number),
                claimed.teardown.id,
                claimed.fence,
                Uuid::from_u128(7),
                &seen,
                &self.policy,
                now,
            )
            .await
            .unwrap()
    }

    /// Sends a command that is accepted.
    pub(crate) async fn send_accepted(&self, claimed: &Claimed, number: u32, now: Timestamp) {
        assert_eq!(self.send(claimed, number, now).await, Verdict::Allow);
        self.store.record_answer(command_id(number), &accepted(), now).await.unwrap();
    }

    /// The row of a tenant, the newest one.
    pub(crate) async fn row(&self, number: u32) -> Teardown {
        self.store.list(&only(number)).await.unwrap().remove(0)
    }

    /// The row of an id.
    pub(crate) async fn row_of(&self, id: TeardownId) -> Teardown {
        let filter = Filter { ids: vec![id], ..Filter::default() };
        self.store.list(&filter).await.unwrap().remove(0)
    }

    /// The command of a tenant.
    pub(crate) async fn stored(
        &self,
        tenant: TenantId,
        number: u32,
    ) -> teardownd::core::command::Command {
        let all = self.store.commands(&default_account(), tenant).await.unwrap();
        all.into_iter().find(|command| command.id == command_id(number)).unwrap()
    }

    /// Makes an operator's request about one tenant and returns its one effect.
    pub(crate) async fn ask(&self, verb: Verb, number: u32, now: Timestamp) -> RequestEffect {
        let mut effects = self.store.request(&request(verb, only(number)), now).await.unwrap();
        assert_eq!(effects.len(), 1);
        effects.remove(0)
    }

    /// The account is past its first steps: several commands may be out at once.
    pub(crate) async fn prove(&self, now: Timestamp) {
        self.queue([900_000], now).await;
        let claimed = self.claim_one(now).await;
        self.walk(&claimed, &[State::EntitlementsFetched], now).await;
        self.command(&claimed, State::Deleting, vec![delete(900_000)], now).await;
        self.send_accepted(&claimed, 900_000, now).await;
        self.walk(&claimed, &[State::Deleted], now).await;
    }
}
