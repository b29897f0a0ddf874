//! Identifiers. Each is its own type, so that one cannot stand where another is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The tenant id of a customer: a GUID, compared and printed in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Uuid);

/// Why a text is not a tenant id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a tenant id: expected a GUID such as 1f2e3d4c-5b6a-4788-9900-aabbccddeeff"
)]
pub struct InvalidTenantId {
    /// The text as it was given.
    pub value: String,
}

impl TenantId {
    /// Wraps a GUID that is already known to be one.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The GUID itself.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenantId;

    /// Accepts the hyphenated form only, in any letter case: other spellings of a GUID would let one
    /// tenant be queued under two names in hand-written SQL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTenantId { value: text.to_owned() };
        if text.len() != 36 {
            return Err(invalid());
        }
        Uuid::try_parse(text).map(Self).map_err(|_| invalid())
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenantId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The name of an account: the `NAME` of `[accounts.NAME]` in the configuration, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountName(String);

impl AccountName {
    /// Stands for every account at once where a pause covers everything.
    pub const EVERY: &'static str = "*";

    /// Takes a name as it is written and folds its case.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(name.as_ref().to_lowercase())
    }

    /// The row that stands for every account.
    pub fn every() -> Self {
        Self(Self::EVERY.to_owned())
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text can be the id of an order, a subscription or an entitlement: up to 200 visible ASCII
/// characters, none of which has a meaning in a path. Anything else, `..` for one, would lead a request to
/// another resource, so that what carries it is unknown. The documentation's examples are GUIDs and
/// base64url.
pub fn is_resource_id(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/\\%?#".contains(&byte))
}

/// The row number of a teardown. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TeardownId(pub i64);

impl fmt::Display for TeardownId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a command, which is also the `MS-RequestId` it is sent under, every time it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub Uuid);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// Grows by one with each claim of a row. A write to the row must carry the current one, so a
/// process that lost its lease cannot write any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_fold_case_and_refuse_other_spellings() {
        let id: TenantId = "1F2E3D4C-5B6A-4788-9900-AABBCCDDEEFF".parse().unwrap();
        assert_eq!(id.to_string(), "1f2e3d4c-5b6a-4788-9900-aabbccddeeff");
        for wrong in [
            "",
            "1f2e3d4c5b6a47889900aabbccddeeff",
            "{1f2e3d4c-5b6a-4788-9900-aabbccddeeff}",
            "1f2e3d4c-5b6a-4788-9900-aabbccddeef",
            "1f2e3d4c-5b6a-4788-9900-aabbccddeefg",
            " 1f2e3d4c-5b6a-4788-9900-aabbccddeeff",
        ] {
            assert!(wrong.parse::<TenantId>().is_err(), "{wrong:?}");
        }
    }
}
