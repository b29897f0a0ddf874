//! Who asks, for the record.

use rustix::process::getuid;

/// The operator's name: `--actor` with the user who claims it, else that user.
pub(crate) fn actor(claimed: Option<&str>) -> String {
    let user = user();
    match claimed.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} (claimed by {user})"),
        None => user,
    }
}

/// Who called `sudo`, else the operating system's name of this user, else its number.
fn user() -> String {
    let uid = getuid();
    // Anybody can set the variable; only sudo sets it for root.
    let sudo = uid.is_root().then(|| std::env::var("SUDO_USER").ok()).flatten();
    sudo.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        name_of(uid.as_raw(), &passwd).unwrap_or_else(|| format!("uid {}", uid.as_raw()))
    })
}

/// The name of a user in the text of `/etc/passwd`.
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number() {
        let passwd = "root:x:0:0::/:/bin/sh\n# odd\nanna:x:1000:1000:Anna:/home/anna:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("anna"));
        assert_eq!(name_of(7, passwd), None);
    }

    #[test]
    fn a_claimed_name_does_not_hide_the_user() {
        assert_eq!(actor(Some("ops")), format!("ops (claimed by {})", user()));
        assert_eq!(actor(Some(" ")), user());
    }
}
