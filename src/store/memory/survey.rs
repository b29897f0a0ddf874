//! The survey.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::data::Data;
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Status, Teardown};
use crate::store::admission;
use crate::store::audit::ENQUEUE;
use crate::store::rules::{self, before, elapsed};
use crate::store::survey::MOVES_AT_ONCE;
use crate::store::{AccountSurvey, Move, Survey, SurveyRequest, Tally, TransitionRecord};

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Data {
    pub(super) fn survey(&self, request: &SurveyRequest, now: Timestamp) -> Survey {
        let moved = |record: &&TransitionRecord| record.from != Some(record.to);
        let latest = self.transitions.last().map_or(0, |record| record.id);
        let asked = request.moves_after.unwrap_or(latest);
        let moves: Vec<_> = self
            .transitions
            .iter()
            .filter(|record| record.id > asked)
            .filter(moved)
            .take(MOVES_AT_ONCE)
            .collect();
        Survey {
            tallies: self.tallies(request.stuck_after, now),
            accounts: self.account_surveys(before(now, request.budget_window), now),
            last_move: moves.last().map_or(asked, |record| record.id),
            moves: moves.into_iter().map(|record| self.one_move(record)).collect(),
        }
    }

    fn tallies(&self, stuck_after: Duration, now: Timestamp) -> Vec<Tally> {
        let mut tallies: Vec<Tally> = Vec::new();
        for row in self.teardowns.values() {
            let one = self.tally(row, stuck_after, now);
            match tallies.iter_mut().find(|other| other.stands_like(&one)) {
                Some(tally) => {
                    tally.teardowns += 1;
                    tally.due_since = [tally.due_since, one.due_since].into_iter().flatten().min();
                }
                None => tallies.push(one),
            }
        }
        tallies
    }

    fn tally(&self, row: &Teardown, stuck_after: Duration, now: Timestamp) -> Tally {
        let status = row.status(now);
        let early = row.state == State::Queued && row.not_before.is_some_and(|at| now < at);
        let newer = |other: &Teardown| {
            other.account == row.account && other.tenant_id == row.tenant_id && other.id > row.id
        };
        Tally {
            account: row.account.clone(),
            state: row.state,
            status,
            reason: match status {
                Status::Held => row.hold.as_ref().map(|hold| hold.code),
                Status::Waiting if early => Some(Reason::NotBefore),
                Status::Waiting | Status::Failed => row.reason,
                // It is being looked at, and stuck for the reason for which it was parked last.
                Status::Moving if row.is_stuck(stuck_after, now) => row.reason,
                Status::Moving | Status::Done => None,
            },
            leased: row.lease.is_some(),
            stuck: row.is_stuck(stuck_after, now),
            acknowledged: self.acks.contains_key(&row.id),
            superseded: status == Status::Failed && self.teardowns.values().any(newer),
            teardowns: 1,
            due_since: (status == Status::Moving && row.lease.is_none())
                .then(|| rules::due_at(row)),
        }
    }

    fn account_surveys(
        &self,
        window_start: Timestamp,
        now: Timestamp,
    ) -> BTreeMap<AccountName, AccountSurvey> {
        let mut accounts = BTreeMap::<AccountName, AccountSurvey>::new();
        let day = before(now, DAY);
        for command in &self.commands {
            if command.outcome.is_none()
                && let Some(row) = self.active(&command.account, command.tenant_id)
            {
                let account = accounts.entry(command.account.clone()).or_default();
                account.unsettled += 1;
                let since = (!self.acks.contains_key(&row)).then_some(command.created_at);
                account.unsettled_since = account.unsettled_since.into_iter().chain(since).min();
            }
            if admission::counts_as_deletion(command) && command.created_at >= day {
                let account = accounts.entry(command.account.clone()).or_default();
                account.deletions.push(command.created_at);
            }
        }
        let concerns =
            |row: &&Teardown| !row.state.is_terminal() && !self.acks.contains_key(&row.id);
        for row in self.teardowns.values().filter(concerns) {
            if let Some(at) = row.uncancellable_at {
                let account = accounts.entry(row.account.clone()).or_default();
                account.uncancellable_at = account.uncancellable_at.into_iter().chain([at]).min();
            }
        }
        for request in self.requests.iter().filter(|request| request.verb == ENQUEUE) {
            let guard = request.reason.as_deref().and_then(Reason::parse);
            if let (Some(name), Some(guard)) = (&request.account, guard) {
                let account = accounts.entry(AccountName::new(name)).or_default();
                *account.refused.entry(guard).or_default() += 1;
            }
        }
        for send in self.sends.iter().filter(|send| send.at >= window_start) {
            let account = accounts.entry(send.account.clone()).or_default();
            *account.requests.entry(send.bucket.resource).or_default() += send.sends;
        }
        accounts
    }

    fn one_move(&self, record: &TransitionRecord) -> Move {
        let earlier = || {
            let same = |other: &&TransitionRecord| {
                other.teardown_id == record.teardown_id
                    && other.id < record.id
                    && other.from != Some(other.to)
            };
            self.transitions.iter().rev().filter(same)
        };
        let since = |other: &TransitionRecord| elapsed(other.at, record.at);
        Move {
            account: record.account.clone(),
            from: record.from,
            to: record.to,
            in_state: earlier().next().map(since),
            in_run: earlier().find(|other| other.to == State::Queued).map(since),
        }
    }
}
