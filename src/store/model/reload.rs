//! The answers of replicas to a request to read their configuration anew.

use std::collections::BTreeSet;

use serde::Serialize;

/// How many requests are kept.
pub(in crate::store) const KEPT: usize = 100;

/// The answer of a replica to a request to reload, or of all together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadAnswer {
    /// Whether the file was fit. If not, the daemon runs on with what it had.
    pub taken_up: bool,
    /// In words: what was done, or everything that is wrong with the file.
    pub text: String,
    /// Keys whose new values hold from now on.
    pub changed: Vec<String>,
    /// Keys that have changed and are taken up at the next start only.
    pub restart: Vec<String>,
}

impl ReloadAnswer {
    /// The answers of these replicas as one. With more than one each is named in the text.
    pub(in crate::store) fn of_all(answers: &[(String, Self)]) -> Option<Self> {
        if let [(_, only)] = answers {
            return Some(only.clone());
        }
        let each: Vec<String> =
            answers.iter().map(|(name, answer)| format!("{name}: {}", answer.text)).collect();
        let keys = |keys: fn(&Self) -> &Vec<String>| -> Vec<String> {
            let all: BTreeSet<&String> = answers.iter().flat_map(|(_, one)| keys(one)).collect();
            all.into_iter().cloned().collect()
        };
        (!answers.is_empty()).then(|| Self {
            taken_up: answers.iter().all(|(_, answer)| answer.taken_up),
            text: each.join("\n"),
            changed: keys(|answer| &answer.changed),
            restart: keys(|answer| &answer.restart),
        })
    }
}
