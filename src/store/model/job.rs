//! The jobs of the schedule.

/// Whether a job was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// By whoever asked.
    Here,
    /// Somebody else does it now. It may fail, and then it is to be begun anew.
    Elsewhere,
    /// It is done.
    NotDue,
}
