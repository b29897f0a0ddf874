//! A plan in a file, as `plan --save` writes it and `approve --plan` reads it.

use std::io::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::core::approval::Inventory;
use crate::core::ids::{AccountName, TenantId};
use crate::interfaces::cli::exit::{Exit, Failure};
use crate::store::shared;

/// The version of the form; another one is refused.
const FORMAT: u32 = 1;

/// A plan of several tenants of an account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Saved {
    format: u32,
    /// The account.
    #[serde(deserialize_with = "account")]
    pub(crate) account: AccountName,
    /// What was read of each tenant.
    pub(crate) plans: Vec<Planned>,
}

/// What a plan says of one tenant, as far as an approval needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Planned {
    /// The tenant.
    pub(crate) tenant_id: TenantId,
    /// What is to be cancelled; `None` where the purchases could not be read whole.
    pub(crate) inventory: Option<Inventory>,
}

/// Account names compare without case.
fn account<'de, D: serde::Deserializer<'de>>(source: D) -> Result<AccountName, D::Error> {
    String::deserialize(source).map(|name| AccountName::new(&name))
}

/// Writes a plan; `plans` is what `plan --output json` prints of each tenant.
pub(super) fn write(
    path: &Path,
    account: &AccountName,
    made_at: &Value,
    plans: &[Value],
) -> Result<(), Failure> {
    let whole = json!({"format": FORMAT, "account": account, "made_at": made_at, "plans": plans});
    // Not through a link: where people share a folder, somebody else may have put it there.
    let written = shared::open_or_create(path).and_then(|mut file| {
        file.set_len(0)?;
        file.write_all(format!("{whole:#}\n").as_bytes())
    });
    written.map_err(|error| {
        Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display()))
            .hint("name another file with --save")
    })
}

/// Reads a plan.
pub(crate) fn read(path: &Path) -> Result<Saved, Failure> {
    let unusable = |why: String| {
        Failure::new(Exit::Usage, format!("{} is no plan: {why}", path.display()))
            .hint("make one with `teardownd plan TENANT --save FILE`")
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let saved: Saved = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    if saved.format != FORMAT {
        return Err(unusable(format!("its format is {}, not {FORMAT}", saved.format)));
    }
    if saved.plans.is_empty() {
        return Err(unusable("it names no tenant".to_owned()));
    }
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_written_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        let tenant: TenantId = "aaaaaaaa-0000-4000-8000-000000000001".parse().unwrap();
        let item = json!({"key": "order:1", "kind": "reservation", "route": "cancel_order"});
        let plan = json!({"tenant_id": tenant, "text": "more", "inventory": [item]});
        let unread = json!({"tenant_id": tenant, "inventory": null});
        write(&path, &AccountName::new("Lab"), &json!("2027"), &[plan, unread]).unwrap();
        let saved = read(&path).unwrap();
        assert_eq!(saved.account, AccountName::new("lab"));
        assert_eq!(saved.plans[0].inventory.as_ref().unwrap().len(), 1);
        assert_eq!((saved.plans[1].tenant_id, &saved.plans[1].inventory), (tenant, &None));

        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(folder.path().join("other"), &link).unwrap();
        write(&link, &saved.account, &json!("2027"), &[]).unwrap_err();
        assert!(!folder.path().join("other").exists());
        for text in [
            "",
            "{}",
            r#"{"format": 2, "account": "lab", "plans": [{"tenant_id": "aaaaaaaa-0000-4000-8000-000000000001", "inventory": []}]}"#,
            r#"{"format": 1, "account": "lab", "plans": []}"#,
            r#"{"format": 1, "account": "lab", "plans": [{"tenant_id": "abc", "inventory": []}]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
