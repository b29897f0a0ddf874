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

/// Who called `sudo`, else the operating system's user.
fn user() -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_of(getuid().as_raw(), |name| std::env::var(name).ok(), &passwd)
}

/// The name of the user behind a process, else the user's number. Who calls `sudo` is found by number
/// as well: on a host whose users stand in a directory and not in `/etc/passwd`, `SUDO_USER` would make
/// two of one person.
fn user_of(uid: u32, variable: impl Fn(&str) -> Option<String>, passwd: &str) -> String {
    let told = |uid: u32| name_of(uid, passwd).unwrap_or_else(|| format!("uid {uid}"));
    // Anybody can set the variables; only sudo sets them for root.
    let by_sudo = |name| variable(name).filter(|text| uid == 0 && !text.is_empty());
    match (by_sudo("SUDO_UID"), by_sudo("SUDO_USER")) {
        (Some(caller), _) => told(caller.parse().unwrap_or(uid)),
        (None, Some(name)) => name,
        (None, None) => told(uid),
    }
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
    fn one_person_is_one_name_with_and_without_sudo() {
        let passwd = "root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        let ask = |uid, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
            };
            user_of(uid, variable, passwd)
        };
        // Ben stands in a directory that is not asked.
        for (uid, number, name, told) in
            [(1000, "1000", "anna", "anna"), (12_345, "12345", "ben", "uid 12345")]
        {
            assert_eq!(ask(uid, &[]), told);
            assert_eq!(ask(0, &[("SUDO_UID", number), ("SUDO_USER", name)]), told);
        }
        assert_eq!(ask(0, &[("SUDO_USER", "ben")]), "ben");
        assert_eq!(ask(0, &[("SUDO_UID", "none"), ("SUDO_USER", "ben")]), "root");
        assert_eq!(ask(0, &[]), "root");
        assert_eq!(ask(1000, &[("SUDO_UID", "7"), ("SUDO_USER", "ben")]), "anna");
    }

    #[test]
    fn a_claimed_name_does_not_hide_the_user() {
        assert_eq!(actor(Some("ops")), format!("ops (claimed by {})", user()));
        assert_eq!(actor(Some(" ")), user());
    }
}
