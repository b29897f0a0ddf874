//! One tenant to be queued, as it was written, and what can be wrong with it.

use std::fmt;

use jiff::Timestamp;

use crate::core::domain::{self, DomainPattern};
use crate::core::ids::TenantId;
use crate::interfaces::cli::when::When;

/// The columns of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Tenant,
    Domain,
    Batch,
    Priority,
    Reason,
    NotBefore,
}

impl Column {
    /// In the order of a file without a header.
    pub(super) const ALL: [Self; 6] =
        [Self::Tenant, Self::Domain, Self::Batch, Self::Priority, Self::Reason, Self::NotBefore];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant_id",
            Self::Domain => "domain",
            Self::Batch => "batch",
            Self::Priority => "priority",
            Self::Reason => "reason",
            Self::NotBefore => "not_before",
        }
    }

    /// The column of a heading; letter case, blanks, `_` and `-` do not count.
    pub(super) fn named(heading: &str) -> Option<Self> {
        let folded: String =
            heading.to_lowercase().chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
        match folded.as_str() {
            "tenantid" | "tenant" | "customerid" | "customer" => Some(Self::Tenant),
            "domain" => Some(Self::Domain),
            "batch" => Some(Self::Batch),
            "priority" => Some(Self::Priority),
            "reason" => Some(Self::Reason),
            "notbefore" => Some(Self::NotBefore),
            _ => None,
        }
    }

    /// Their names, for messages.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

/// A tenant as it was written. What is `None` comes from the command line's options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// Line of the file.
    pub(super) line: Option<u64>,
    pub(super) tenant: Option<TenantId>,
    pub(super) domain: Option<String>,
    pub(super) batch: Option<String>,
    pub(super) priority: Option<i64>,
    pub(super) reason: Option<String>,
    pub(super) not_before: Option<Timestamp>,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) value: String,
    pub(super) remedy: String,
}

impl Entry {
    /// Takes a cell in. An empty one says nothing.
    pub(super) fn set(&mut self, column: Column, text: &str, now: Timestamp) -> Result<(), Wrong> {
        let text = text.trim();
        let wrong = |remedy: &str| Wrong { value: text.to_owned(), remedy: remedy.to_owned() };
        if text.is_empty() {
            return if column == Column::Tenant {
                Err(wrong("every row names a tenant id"))
            } else {
                Ok(())
            };
        }
        match column {
            Column::Tenant => self.tenant = Some(tenant(text)?),
            Column::Domain => self.domain = Some(domain(text)?),
            Column::Batch => self.batch = Some(text.to_owned()),
            Column::Priority => {
                self.priority = Some(text.parse().map_err(|_| wrong("write a whole number"))?);
            }
            Column::Reason => self.reason = Some(text.to_owned()),
            Column::NotBefore => {
                let when: When =
                    text.parse().map_err(|_| wrong("write a time such as 2027-01-31T18:00:00Z"))?;
                self.not_before = Some(when.at(now));
            }
        }
        Ok(())
    }
}

/// Reads a tenant id.
pub(super) fn tenant(text: &str) -> Result<TenantId, Wrong> {
    text.parse().map_err(|_| Wrong {
        value: text.to_owned(),
        remedy: "write a GUID such as 1f2e3d4c-5b6a-4788-9900-aabbccddeeff".to_owned(),
    })
}

/// Reads a domain name, which is no pattern.
pub(super) fn domain(text: &str) -> Result<String, Wrong> {
    let folded = domain::fold(text);
    let name = folded.contains('.') && !folded.starts_with('*');
    if name && DomainPattern::parse(&folded).is_ok() {
        return Ok(folded);
    }
    Err(Wrong {
        value: text.to_owned(),
        remedy: "write one domain such as contoso.onmicrosoft.com".to_owned(),
    })
}

/// A row that cannot be queued, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadRow {
    pub(super) line: Option<u64>,
    /// Number of the column, from 1, and its name.
    pub(super) column: Option<(usize, String)>,
    pub(super) wrong: Wrong,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
        }
        if let Some((number, name)) = &self.column {
            write!(f, ", column {number} ({name})")?;
        }
        if self.line.is_some() {
            write!(f, ": ")?;
        }
        write!(f, "{:?}: {}", self.wrong.value, self.wrong.remedy)
    }
}
