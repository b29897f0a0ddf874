//! The steps of the store, by theme. Each is one transaction; the modules beside this one carry it out.

mod accounts;
mod audit;
mod claim;
mod clock;
mod commit;
mod consent;
mod customers;
mod faults;
mod forged;
mod gates;
mod identities;
mod in_force;
mod operate;
#[cfg(test)]
mod plans;
mod protect;
mod queue;
mod reload;
mod send;
mod survey;
mod upkeep;

pub(super) use self::survey::Ended;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::core::account::{Account, Identity, TroubleKind};
use crate::core::budget::{Ask, Budget, Grant};
use crate::core::command::{Answer, Command};
use crate::core::database_time::{Reading, Step, Timekeeping};
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use crate::core::observation::Observation;
use crate::core::protection::Protection;
use crate::core::teardown::{NewTeardown, Teardown};
use crate::store::model::time::millis;
use crate::store::{
    Ack, ApproveRequest, ArmRequest, AuditEntry, AuditRange, ClaimRequest, Claimed, Commit,
    Committed, CustomersRead, DaemonInfo, EnqueueOutcome, Filter, KnownCustomers, OperatorRequest,
    RefusedEnqueue, ReloadAnswer, RequestEffect, RequestRecord, Result, Store, StoredFault,
    StoredPurchase, Survey, SurveyRequest, TransitionRecord, Waiting, held, lanes,
};

impl Store {
    /// Queues all of these or none. The answers stand in the order of the input; a tenant that
    /// occurs twice is `AlreadyActive` the second time. Protected tenants are refused with
    /// [`Protected`](crate::store::StoreError::Protected). Tenants that are active with another domain
    /// than the one named, or with none, are refused with
    /// [`OtherDomain`](crate::store::StoreError::OtherDomain).
    pub async fn enqueue(
        &self,
        rows: &[NewTeardown],
        now: Timestamp,
    ) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
        self.write("enqueue", async |tx| queue::enqueue(tx, rows, millis(now)).await).await
    }

    /// Rows that match, newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Teardown>> {
        self.read("list", async |tx| queue::list(tx, filter).await).await
    }

    /// Stored purchases of a row, by key.
    pub async fn purchases(&self, teardown: TeardownId) -> Result<Vec<StoredPurchase>> {
        self.read("purchases", async |tx| queue::purchases(tx, teardown).await).await
    }

    /// Every command ever committed for a tenant of an account, oldest first.
    pub async fn commands(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<Command>> {
        self.read("commands", async |tx| queue::commands(tx, account, tenant).await).await
    }

    /// History of the rows of a tenant, oldest first.
    pub async fn history(
        &self,
        account: Option<&AccountName>,
        tenant: TenantId,
    ) -> Result<Vec<TransitionRecord>> {
        self.read("history", async |tx| queue::history(tx, account, tenant).await).await
    }

    /// The failures kept of every teardown of a tenant, oldest first: the newest
    /// [`FAULTS_KEPT`](crate::store::FAULTS_KEPT) of each.
    pub async fn faults(
        &self,
        account: &AccountName,
        tenant: TenantId,
    ) -> Result<Vec<StoredFault>> {
        self.read("faults", async |tx| faults::of_tenant(tx, account, tenant).await).await
    }

    /// Called once by the one process that may run on this database: gives back every lease, with a
    /// new fence, and makes those rows due at once. Returns how many.
    pub async fn take_over(&self, now: Timestamp) -> Result<u64> {
        self.write("take_over", async |tx| claim::take_over(tx, millis(now)).await).await
    }

    /// Takes up what the configuration says the accounts stand for: proofs, halts and deletion caps are
    /// a partner's and go with it. An answer on record that halts an account does so, unless a person has
    /// lifted a halt there since.
    pub async fn adopt(
        &self,
        configured: &[(AccountName, Identity)],
        now: Timestamp,
    ) -> Result<()> {
        self.write("adopt", async |tx| identities::adopt(tx, configured, millis(now)).await).await
    }

    /// Claims due rows, each with a new fence: by priority, then by what becomes impossible to cancel
    /// soonest, then by how long they have been due.
    pub async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claimed>> {
        self.write("claim", async |tx| claim::claim(tx, request, millis(now)).await).await
    }

    /// When the earliest row becomes due that [`claim`](Self::claim) would give to one of these
    /// accounts; `None` if no row waits for a time.
    pub async fn next_due(
        &self,
        accounts: &[AccountName],
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        self.read("next_due", async |tx| claim::next_due(tx, accounts, millis(now)).await).await
    }

    /// Renews these leases and returns the ids of those that are lost.
    pub async fn renew(
        &self,
        owner: &str,
        leases: &[(TeardownId, Fence)],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<TeardownId>> {
        self.write("renew", async |tx| claim::renew(tx, owner, leases, ttl, millis(now)).await)
            .await
    }

    /// Gives a lease back without a change; the row is due again at once.
    pub async fn release(&self, teardown: TeardownId, fence: Fence, now: Timestamp) -> Result<()> {
        self.write("release", async |tx| claim::release(tx, teardown, fence, millis(now)).await)
            .await
    }

    /// Holds a row whose pass has met damage in what is stored of it, and gives its lease back. Forged
    /// commands of the tenant are settled with it. Returns what holds it.
    pub async fn set_aside(
        &self,
        teardown: TeardownId,
        fence: Fence,
        text: &str,
        now: Timestamp,
    ) -> Result<Verdict> {
        self.write("set_aside", async |tx| {
            claim::set_aside_leased(tx, teardown, fence, text, millis(now)).await
        })
        .await
    }

    /// Commits one step. See [`Commit`].
    pub async fn commit(&self, commit: Commit<'_>, now: Timestamp) -> Result<Committed> {
        self.write("commit", async |tx| commit::commit(tx, &commit, millis(now)).await).await
    }

    /// Asks the gates once more for a committed command, and if they allow it counts the send. Must
    /// precede every send, also a repeated one.
    ///
    /// A command that was never sent and is refused by [`Verdict::Hold`] or [`Verdict::Halt`] is
    /// settled as withdrawn. The hold or the halt itself is stored as in [`commit`](Self::commit),
    /// but the lease stays with the caller.
    #[allow(clippy::too_many_arguments)]
    pub async fn begin_send(
        &self,
        command: CommandId,
        teardown: TeardownId,
        fence: Fence,
        correlation: Uuid,
        seen: &Observation,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<Verdict> {
        let send = send::Send { command, teardown, fence, correlation, seen, policy };
        let begin = async |tx: &mut SqliteConnection| send::begin(tx, &send, millis(now)).await;
        let verdict = self.write("begin_send", begin).await?;
        // The last moment before the request goes out.
        self.files.check()?;
        Ok(verdict)
    }

    /// Stores what a send taught. Needs no fence: an answer is a fact, whoever holds the lease. An
    /// accepted command proves its class for the account; an answer that halts the account does so in the
    /// same step.
    pub async fn record_answer(
        &self,
        command: CommandId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<()> {
        self.write_anywhere("record_answer", async |tx| {
            send::record_answer(tx, command, answer, millis(now)).await
        })
        .await
    }

    /// The row of an account, fresh if there is none. `*` is the row of everything.
    pub async fn account(&self, name: &AccountName) -> Result<Account> {
        self.read("account", async |tx| accounts::load(tx, name).await).await
    }

    /// Every stored account, `*` among them if it was ever paused.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        self.read("accounts", async |tx| accounts::load_all(tx).await).await
    }

    /// Halts an account (invariant 2). A second halt keeps the first one's reason.
    pub async fn halt(
        &self,
        account: &AccountName,
        guard: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.write("halt", async |tx| accounts::halt(tx, account, guard, text, millis(now)).await)
            .await
    }

    /// Stores an outage of the account; `since` of a running one of the same kind is kept.
    pub async fn set_trouble(
        &self,
        account: &AccountName,
        kind: TroubleKind,
        text: &str,
        next_probe_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        self.write("set_trouble", async |tx| {
            accounts::set_trouble(tx, account, kind, text, next_probe_at, millis(now)).await
        })
        .await
    }

    /// Makes the next probe of an outage due at once, if there is one.
    pub async fn probe_now(&self, account: &AccountName, now: Timestamp) -> Result<()> {
        self.write("probe_now", async |tx| accounts::probe_now(tx, account, millis(now)).await)
            .await
    }

    /// Ends an outage.
    pub async fn clear_trouble(&self, account: &AccountName) -> Result<()> {
        self.write("clear_trouble", async |tx| accounts::clear_trouble(tx, account).await).await
    }

    /// Closes an account after a 429. A later end that is already stored stays.
    pub async fn throttle(
        &self,
        account: &AccountName,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        self.write("throttle", async |tx| accounts::throttle(tx, account, until, millis(now)).await)
            .await
    }

    /// Reserves sends in the budget, durably, before they go out (invariant 9).
    pub async fn reserve(
        &self,
        account: &AccountName,
        asks: &[Ask],
        budget: &Budget,
        now: Timestamp,
    ) -> Result<Vec<Grant>> {
        self.write("reserve", async |tx| {
            accounts::reserve(tx, account, asks, budget, millis(now)).await
        })
        .await
    }

    /// When the API last refused entitlements to the app of an account, unless it gave them since.
    pub async fn no_entitlements_at(&self, account: &AccountName) -> Result<Option<Timestamp>> {
        self.read("no_entitlements_at", async |tx| {
            identities::no_entitlements_at(tx, account).await
        })
        .await
    }

    /// Notes that the API refuses entitlements to the app of an account, or gives them again.
    pub async fn note_entitlements(
        &self,
        account: &AccountName,
        refused_at: Option<Timestamp>,
    ) -> Result<()> {
        let refused_at = refused_at.map(millis);
        self.write("note_entitlements", async |tx| {
            identities::note_entitlements(tx, account, refused_at).await
        })
        .await
    }

    /// Notes a complete customer list: when each customer was first seen, how many there are. An
    /// older list than the latest one is passed over.
    pub async fn note_customers(&self, account: &AccountName, read: &CustomersRead) -> Result<()> {
        self.write("note_customers", async |tx| customers::note(tx, account, read).await).await
    }

    /// What the latest complete customer list of an account taught, if one was ever read.
    pub async fn customers(&self, account: &AccountName) -> Result<Option<KnownCustomers>> {
        self.snapshot("customers", async |tx| customers::known(tx, account).await).await
    }

    /// Stores, applies and answers a request.
    pub async fn request(
        &self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        self.write("request", async |tx| operate::request(tx, request, millis(now)).await).await
    }

    /// Applies the requests that were typed in by SQL and returns how many there were. One that
    /// cannot be understood is answered with the reason in its row.
    pub async fn apply_requests(&self, now: Timestamp) -> Result<u64> {
        // Most ticks find nothing: a look beside the writer is enough then.
        let is_any_open = async |tx: &mut SqliteConnection| operate::is_any_open(tx).await;
        if !self.read("apply_requests", is_any_open).await? {
            return Ok(0);
        }
        self.write("apply_requests", async |tx| operate::apply_typed(tx, millis(now)).await).await
    }

    /// Approves teardowns, each for the inventory that is stored of it or that a plan names, and lets
    /// go of those that were held for want of that. Stored with its effects like any request.
    pub async fn approve(
        &self,
        request: &ApproveRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        self.write("approve", async |tx| consent::approve(tx, request, millis(now)).await).await
    }

    /// Arms or disarms an account; arming lets go of its teardowns that were held for want of it.
    /// Stored with its effect like any request.
    pub async fn arm(&self, request: &ArmRequest, now: Timestamp) -> Result<RequestEffect> {
        self.write("arm", async |tx| consent::arm(tx, request, millis(now)).await).await
    }

    /// Every deny entry, by account, kind and subject.
    pub async fn protections(&self) -> Result<Vec<Protection>> {
        self.read("protections", async |tx| protect::load_all(tx).await).await
    }

    /// The acknowledgements in force, by row. One ends when its row changes its state or its hold.
    pub async fn acks(&self) -> Result<Vec<Ack>> {
        self.read("acks", async |tx| protect::acks(tx).await).await
    }

    /// The entries of a range in time order.
    pub async fn audit(&self, range: &AuditRange) -> Result<Vec<AuditEntry>> {
        self.snapshot("audit", async |tx| audit::entries(tx, range).await).await
    }

    /// When the oldest entry of the audit was made.
    pub async fn audit_begins(&self) -> Result<Option<Timestamp>> {
        self.read("audit_begins", async |tx| audit::begins(tx).await).await
    }

    /// Holds rows (before their end) whose account is not among the known ones, and lets go of those whose
    /// account has become known.
    pub async fn check_accounts(&self, known: &[AccountName], now: Timestamp) -> Result<()> {
        // Most looks find nothing: a look beside the writer is enough then.
        let is_needed =
            async |tx: &mut SqliteConnection| operate::is_any_account_unknown(tx, known).await;
        if !self.read("check_accounts", is_needed).await? {
            return Ok(());
        }
        self.write("check_accounts", async |tx| {
            operate::check_accounts(tx, known, millis(now)).await
        })
        .await
    }

    /// Lets the rows go on that wait behind a gate of their account which is open now, and those wait on
    /// whose gate is not. `policies` are the guards in force, `wall` is the wall clock.
    pub async fn recheck(
        &self,
        policies: &BTreeMap<AccountName, SafetyPolicy>,
        now: Timestamp,
        wall: Timestamp,
    ) -> Result<Waiting> {
        let now = millis(now);
        let look = async |tx: &mut SqliteConnection| gates::look(tx, policies, now, wall).await;
        let found = self.read("recheck", look).await?;
        if found == Waiting::Changed {
            self.write("recheck", async |tx| gates::recheck(tx, policies, now, wall).await).await?;
        }
        Ok(found)
    }

    /// Keeps that guards refused to queue these, for the audit and to be counted.
    pub async fn note_refused(&self, refused: &[RefusedEnqueue], now: Timestamp) -> Result<()> {
        self.write("note_refused", async |tx| {
            for one in refused {
                let record = RequestRecord::of_refused(one, millis(now));
                audit::insert_request(tx, &record, false).await?;
            }
            Ok(())
        })
        .await
    }

    /// Asks the daemon to read its configuration anew. Returns the number of the request.
    pub async fn ask_reload(&self, actor: &str, now: Timestamp) -> Result<i64> {
        self.write("ask_reload", async |tx| reload::ask(tx, actor, millis(now)).await).await
    }

    /// The numbers of the requests to reload that are not answered yet, oldest first.
    pub async fn open_reloads(&self) -> Result<Vec<i64>> {
        self.read("open_reloads", async |tx| reload::open(tx).await).await
    }

    /// Answers these requests, and forgets all but the latest hundred.
    pub async fn answer_reloads(
        &self,
        ids: &[i64],
        answer: &ReloadAnswer,
        now: Timestamp,
    ) -> Result<()> {
        self.write("answer_reloads", async |tx| reload::answer(tx, ids, answer, millis(now)).await)
            .await
    }

    /// The answer to a request to reload, once there is one.
    pub async fn reload_answer(&self, id: i64) -> Result<Option<ReloadAnswer>> {
        self.read("reload_answer", async |tx| reload::answered(tx, id).await).await
    }

    /// Continues the database's own clock from what the machine's clocks say, and follows a step of
    /// the wall clock: what is meant by that one moves with it.
    pub async fn keep_time(&self, reading: &Reading) -> Result<(Timekeeping, Option<Step>)> {
        self.write("keep_time", async |tx| clock::keep(tx, reading).await).await
    }

    /// What is stored of the database's clock; `None` in one that was never worked on.
    pub async fn timekeeping(&self) -> Result<Option<Timekeeping>> {
        self.read("timekeeping", async |tx| clock::load(tx).await).await
    }

    /// Stores that the daemon lives, at a time of the clock that [`keep_time`](Self::keep_time) continues
    /// in the same step.
    pub async fn tick(
        &self,
        reading: &Reading,
        info: &DaemonInfo,
    ) -> Result<(Timekeeping, Option<Step>)> {
        self.write("tick", async |tx| {
            let kept = clock::keep(tx, reading).await?;
            upkeep::tick(tx, &DaemonInfo { ticked_at: kept.0.anchor.at, ..info.clone() }).await?;
            Ok(kept)
        })
        .await
    }

    /// A number that changes with each step that stores something, in whichever process. `None` for a
    /// store that cannot tell. Asking takes the write lock, so that it fails where nothing can be stored.
    pub async fn version(&self) -> Result<Option<i64>> {
        let asked = self.door.pass("version", async {
            self.files.check()?;
            let mut anchor = self.anchor.lock().await;
            let Some(anchor) = anchor.as_mut() else { return Ok(None) };
            // Counts what other connections commit, and nothing is ever stored through this one.
            lanes::transact(anchor, "BEGIN IMMEDIATE", async |tx| {
                Ok(sqlx::query_scalar("PRAGMA data_version").fetch_optional(tx).await?)
            })
            .await
        });
        asked.await.map_err(|error| held(&self.path, error))
    }

    /// What the daemon last told of itself.
    pub async fn daemon(&self) -> Result<Option<DaemonInfo>> {
        self.read("daemon", async |tx| upkeep::daemon(tx).await).await
    }

    /// How things stand, by sets: what the gauges are read from.
    pub async fn survey(&self, request: &SurveyRequest, now: Timestamp) -> Result<Survey> {
        let survey = async |tx: &mut SqliteConnection| {
            survey::survey(tx, request, &self.ended, millis(now)).await
        };
        self.snapshot("survey", survey).await
    }

    /// When the job of this name was last done. One that is new here counts as done now.
    pub async fn last_run(&self, job: &str, now: Timestamp) -> Result<Timestamp> {
        self.write("last_run", async |tx| upkeep::last_run(tx, job, millis(now)).await).await
    }

    /// Stores that a job was done.
    pub async fn note_run(&self, job: &str, at: Timestamp) -> Result<()> {
        self.write("note_run", async |tx| upkeep::note_run(tx, job, millis(at)).await).await
    }

    /// Removes terminal rows that finished before `finished`, and history and settled commands
    /// older than `history` of rows that no longer exist, and answered requests of operators older
    /// than that. Returns how many teardowns went.
    /// A DELETE that is unsettled or accepted is never removed while its tenant has a row.
    pub async fn purge(&self, finished: Timestamp, history: Timestamp) -> Result<u64> {
        self.write("purge", async |tx| upkeep::purge(tx, millis(finished), millis(history)).await)
            .await
    }
}
