//! The writing half of a pass: sends committed commands and stores what came of it.
//!
//! Before each send the gates are asked once more, in a transaction that also counts the send; the
//! answer is stored before anything else happens (invariant 4). Nothing here repeats a send: the next
//! pass does, after it has read the remote state.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::account::AccountRuntime;
use super::lease::Lease;
use super::refusal;
use super::timekeeping;
use crate::core::clock::{Clock, Entropy};
use crate::core::command::{Command, Outcome};
use crate::core::fault::{Class, FailedCall, Trouble};
use crate::core::gates::Verdict;
use crate::core::ids::TeardownId;
use crate::core::observation::Observation;
use crate::core::reason::Reason;
use crate::partner_center::{ApiError, Client, PermitKind, Sent, bucket_of, call_of};
use crate::store::{Result, Store};

/// What became of one command in this pass.
#[derive(Debug)]
pub enum Report {
    /// It was sent, and the answer settled it.
    Settled,
    /// The facts grew too old before it could go out: read and decide again.
    Stale,
    /// The pass must end, for the reason given.
    Trouble(Trouble),
    /// The lease is lost or about to lapse, or the process stops: end the pass and leave it be.
    Stopped,
}

/// A report, and what is to be stored of a failure.
pub type Performed = (Report, Option<FailedCall>);

/// What sending needs.
pub struct Performer<'a> {
    /// The store.
    pub store: &'a Store,
    /// The clock.
    pub clock: &'a Arc<dyn Clock>,
    /// Randomness for correlation ids.
    pub entropy: &'a dyn Entropy,
    /// The account.
    pub account: &'a AccountRuntime,
    /// The lease the pass works under.
    pub lease: &'a Lease,
    /// The row.
    pub teardown: TeardownId,
}

impl Performer<'_> {
    /// Sends these side by side; their order was settled when they were decided. Each report comes with
    /// what is to be stored of the call's failure.
    ///
    /// # Errors
    /// The store's: then nothing is known to be stored and the pass must end.
    pub async fn send_all(
        &self,
        commands: &[Command],
        seen: &Observation,
    ) -> Result<Vec<Performed>> {
        join_all(commands.iter().map(|command| self.send(command, seen)))
            .await
            .into_iter()
            .collect()
    }

    async fn send(&self, command: &Command, seen: &Observation) -> Result<Performed> {
        let client: &Client = &self.account.client;
        let permit = tokio::select! {
            biased;
            () = self.lease.stop.cancelled() => return Ok((Report::Stopped, None)),
            permit = client.permit(PermitKind::Write, bucket_of(command)) => permit,
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(error) => return Ok((self.failed(command, &error).await?, error.failed_call())),
        };
        if self.lease.stop.is_cancelled() || !self.lease.may_write() {
            return Ok((Report::Stopped, None));
        }
        let mark = self.account.mark();
        if !self.account.may_send(mark) {
            return Ok((self.halted(), None));
        }
        let correlation = self.entropy.uuid();
        let safety = self.account.rules.safety.get();
        timekeeping::follow(self.store, self.clock.as_ref()).await?;
        let verdict = self
            .store
            .begin_send(
                command.id,
                self.teardown,
                self.lease.fence,
                correlation,
                seen,
                &safety,
                self.clock.now(),
            )
            .await?;
        refusal::note(&self.account.name, &verdict);
        match verdict {
            Verdict::Allow => {}
            Verdict::Stale => return Ok((Report::Stale, None)),
            Verdict::Wait { reason, until, text } => {
                return Ok((Report::Trouble(Trouble::Account { reason, until, text }), None));
            }
            Verdict::Hold { guard, text } => return Ok((self.stopped(guard, text), None)),
            // The row waits for the end of the halt, which wakes it.
            Verdict::Halt { text, .. } => {
                self.account.hear_of_halt(&text);
                return Ok((self.stopped(Reason::Halted, text), None));
            }
        }
        let may_go = || self.account.may_send(mark) && self.lease.may_write();
        let mut sent = client.send(command, correlation, permit, &may_go).await;
        sent.answer.sent_as = Some(correlation);
        let failed = sent.failed.take();
        let now = self.clock.now();
        let recorded = if let Some(text) = &sent.answer.halts {
            self.account.raise_halt(text.clone(), Some((command.id, sent.answer.clone())));
            self.account.store_halt(self.store, now).await
        } else {
            self.store.record_answer(command.id, &sent.answer, now).await
        };
        self.account.call_ended();
        recorded?;
        if sent.trouble == Some(ApiError::Withheld) {
            let halted = !self.account.may_send(mark);
            return Ok((if halted { self.halted() } else { Report::Stopped }, None));
        }
        tracing::info!(
            command = %command.id,
            correlation_id = %correlation,
            action = command.intent.action.as_str(),
            resource = %command.intent.resource,
            status = sent.answer.http_status,
            code = sent.answer.ms_code,
            outcome = sent.answer.outcome.map_or("unsettled", Outcome::as_str),
            "command sent"
        );
        Ok((self.report(command, sent).await?, failed))
    }

    /// The account was halted, and this command stays where it is.
    fn halted(&self) -> Report {
        Report::Trouble(self.account.halted(self.clock.now()))
    }

    /// What an answer, stored by now, means for the pass.
    async fn report(&self, command: &Command, sent: Sent) -> Result<Report> {
        if sent.answer.halts.is_some() {
            return Ok(self.halted());
        }
        if let Some(error) = &sent.trouble {
            return self.failed(command, error).await;
        }
        let call = call_of(command.intent.action);
        self.account.answered(&[call], self.store, self.clock).await?;
        if sent.class == Some(Class::Retry) {
            let text = sent.answer.text.unwrap_or_default();
            return Ok(Report::Trouble(Trouble::Transient { text, wait: Duration::ZERO }));
        }
        Ok(Report::Settled)
    }

    /// A guard's refusal ends the pass. A command that was never sent is withdrawn by now. The row is held
    /// or its account halted, and neither is claimed until that has ended.
    fn stopped(&self, reason: Reason, text: String) -> Report {
        Report::Trouble(Trouble::Account { reason, until: self.clock.now(), text })
    }

    async fn failed(&self, command: &Command, error: &ApiError) -> Result<Report> {
        // A token may be revoked before its time. A new one is had with the reading that comes before
        // the repetition; if that is refused as well, the credential is.
        if matches!(error, ApiError::Unauthorized { .. }) && command.http_status != Some(401) {
            return Ok(Report::Stale);
        }
        let tenant = command.tenant_id;
        let trouble = self.account.failed(error, tenant, self.store, self.clock).await?;
        Ok(Report::Trouble(match trouble {
            // A refusal that did not settle the command is no refusal: the same id goes out again.
            Trouble::Refused(fault) => {
                Trouble::Transient { text: fault.text, wait: Duration::ZERO }
            }
            Trouble::Transient { .. } | Trouble::Account { .. } => trouble,
        }))
    }
}

/// The one report that decides how the pass goes on: a stop before a trouble before stale facts, and
/// among troubles the account's before the tenant's.
pub fn weightiest(reports: Vec<Report>) -> Report {
    let weight = |report: &Report| match report {
        Report::Settled => 0,
        Report::Stale => 1,
        Report::Trouble(Trouble::Transient { .. }) => 2,
        Report::Trouble(Trouble::Refused(_)) => 3,
        Report::Trouble(Trouble::Account { reason: Reason::Halted, .. }) => 5,
        Report::Trouble(Trouble::Account { .. }) => 4,
        Report::Stopped => 6,
    };
    reports.into_iter().max_by_key(weight).unwrap_or(Report::Settled)
}
