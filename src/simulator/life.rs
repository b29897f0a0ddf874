//! What one remote thing (an order, a subscription, an Azure subscription, a customer) has been,
//! is, and will become, and what a client has asked of it and been shown of it.

use std::time::Duration;

/// Time since the simulator was made.
pub(crate) type Moment = Duration;

/// When a purchase can first be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Appears {
    /// From the beginning.
    #[default]
    AtOnce,
    /// This long after the simulator was made.
    After(Duration),
    /// Once the customer's list of orders has been read this often without it.
    AfterPolls(u32),
}

/// When a cancelled purchase silently becomes active again, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComesBack {
    /// This long after it was cancelled.
    After(Duration),
    /// Once its cancelled state has been shown this often.
    AfterLooks(u32),
}

/// An accepted write.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Moment,
    /// When the goal is reached; never, where the write was accepted and then lost.
    reached: Option<Moment>,
    goal: &'static str,
}

/// The life of one thing. `changes` may reach into the future: that is how waiting is modelled.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    changes: Vec<(Moment, &'static str)>,
    /// What it is without anyone asking for a change.
    resting: &'static str,
    ready_from: Moment,
    /// From an accepted write to its goal.
    pub(crate) takes: Duration,
    /// Not before this moment does it exist; `None` while it waits for polls.
    visible_from: Option<Moment>,
    appears: Appears,
    comes_back: Option<ComesBack>,
    asked: Option<Asked>,
    looks_at_goal: u32,
    /// What the latest whole answer said: active or not.
    pub(crate) shown_active: Option<bool>,
    /// The id of a write whose answer never arrived in a usable form.
    pub(crate) unsettled: Option<String>,
    /// A write that is being answered: its id, its call, and until when.
    pub(crate) in_flight: Option<InFlight>,
}

/// A write on its way.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    pub(crate) id: String,
    pub(crate) call: u64,
    pub(crate) until: Moment,
}

impl Life {
    /// A thing that has always been `status` and takes `takes` to change on request.
    pub(crate) fn new(status: &'static str, takes: Duration) -> Self {
        Self {
            changes: vec![(Moment::ZERO, status)],
            resting: status,
            ready_from: Moment::ZERO,
            takes,
            visible_from: Some(Moment::ZERO),
            appears: Appears::AtOnce,
            comes_back: None,
            asked: None,
            looks_at_goal: 0,
            shown_active: None,
            unsettled: None,
            in_flight: None,
        }
    }

    /// Starts as `first` and becomes what it is at `until`.
    pub(crate) fn preceded_by(mut self, first: &'static str, until: Moment) -> Self {
        self.changes = vec![(Moment::ZERO, first), (until, self.resting)];
        self.ready_from = until;
        self
    }

    pub(crate) fn appearing(mut self, appears: Appears) -> Self {
        self.appears = appears;
        self.visible_from = match appears {
            Appears::AtOnce => Some(Moment::ZERO),
            Appears::After(delay) => Some(delay),
            Appears::AfterPolls(_) => None,
        };
        self
    }

    /// Ends by itself, unless something else is asked for before.
    pub(crate) fn ending(mut self, at: Moment, status: &'static str) -> Self {
        self.changes.push((at, status));
        self
    }

    pub(crate) fn coming_back(mut self, comes_back: Option<ComesBack>) -> Self {
        self.comes_back = comes_back;
        self
    }

    /// Its status at a moment, past or present.
    pub(crate) fn status(&self, at: Moment) -> &'static str {
        self.changes
            .iter()
            .take_while(|(since, _)| *since <= at)
            .last()
            .or(self.changes.first())
            .map_or("", |(_, status)| *status)
    }

    /// How many changes have happened, for etags.
    pub(crate) fn version(&self, at: Moment) -> usize {
        self.changes.iter().filter(|(since, _)| *since <= at).count()
    }

    /// Whether it has appeared.
    pub(crate) fn exists(&self, at: Moment) -> bool {
        self.visible_from.is_some_and(|from| from <= at)
    }

    /// When it can first be asked to change: after it appeared and left its first state.
    pub(crate) fn ready_at(&self) -> Moment {
        self.ready_from.max(self.visible_from.unwrap_or_default())
    }

    /// Counts one reading of the list in which it would stand.
    pub(crate) fn polled(&mut self, now: Moment, polls: u32) {
        if let (None, Appears::AfterPolls(needed)) = (self.visible_from, self.appears)
            && polls >= needed
        {
            self.visible_from = Some(now);
        }
    }

    /// Applies a write: `goal` after `takes`, and `via` until then.
    pub(crate) fn ask(&mut self, now: Moment, via: Option<&'static str>, goal: &'static str) {
        let reached = now + self.takes;
        self.changes.retain(|(since, _)| *since <= now);
        if let Some(via) = via
            && !self.takes.is_zero()
        {
            self.changes.push((now, via));
        }
        self.changes.push((reached, goal));
        self.asked = Some(Asked { at: now, reached: Some(reached), goal });
        self.looks_at_goal = 0;
        if let Some(ComesBack::After(delay)) = self.comes_back {
            self.comes_back = None;
            self.changes.push((reached + delay, self.resting));
        }
    }

    /// Accepts a write and loses it.
    pub(crate) fn ask_in_vain(&mut self, now: Moment, goal: &'static str) {
        self.asked = Some(Asked { at: now, reached: None, goal });
    }

    /// Whether a write was accepted and its goal has not yet been reached.
    pub(crate) fn is_changing(&self, now: Moment) -> bool {
        self.asked.and_then(|asked| asked.reached).is_some_and(|reached| now < reached)
    }

    /// Whether another write is one too many: the goal was asked for and accepted, the thing has not
    /// come back since, and a goal that the client has not seen reached is younger than `patience`.
    pub(crate) fn needs_no_write(&self, now: Moment, patience: Duration) -> bool {
        let Some(asked) = self.asked else { return false };
        let is_reached = asked.reached.is_some_and(|reached| reached <= now);
        let came_back = is_reached && self.status(now) != asked.goal;
        let was_shown = is_reached && self.shown_active == Some(false);
        !came_back && (was_shown || now.saturating_sub(asked.at) < patience)
    }

    /// A whole answer has shown it in `status`.
    pub(crate) fn was_shown(&mut self, now: Moment, status: &str, active: bool) {
        self.shown_active = Some(active);
        if active {
            return;
        }
        self.unsettled = None;
        let Some(asked) = self.asked.filter(|asked| asked.goal == status) else { return };
        self.looks_at_goal += 1;
        if let Some(ComesBack::AfterLooks(looks)) = self.comes_back
            && self.looks_at_goal >= looks
            && self.status(now) == asked.goal
        {
            self.comes_back = None;
            self.changes.push((now, self.resting));
        }
    }
}
