//! A fresh Debian in a folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Ended, command, is_root, missing, run, tools};

/// What a server has beside the essential packages, as far as the page needs it.
const PACKAGES: &str = "--include=systemd,ca-certificates,curl";

/// A root folder of its own, gone with its handle.
pub struct Root(TempDir);

impl Root {
    /// A copy of a Debian of this machine's release, which is fetched once and kept.
    ///
    /// # Errors
    /// The reason why there can be none here.
    pub fn fresh() -> Result<Self, String> {
        if !is_root() {
            return Err("only root can change the root folder".to_owned());
        }
        if let Some(program) = missing(&["debootstrap", "dpkg-deb", "unshare"]) {
            return Err(format!("{program} is not there; install debootstrap"));
        }
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let value = |key| release.lines().find_map(|line| line.strip_prefix(key));
        let (Some("debian"), Some(codename)) = (value("ID="), value("VERSION_CODENAME=")) else {
            return Err("this is no Debian, and the program is built for this machine".to_owned());
        };
        let base = tools().join(format!("debian-{codename}"));
        if !base.exists() {
            fetch(codename, &base)?;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut copy = command("cp");
        copy.args(["--archive", "--reflink=auto", "--no-target-directory"]);
        let copied = run(copy.arg(base).arg(folder.path()));
        assert_eq!(copied.code, Some(0), "{}", copied.text);
        Ok(Self(folder))
    }

    /// A path as it is called outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    /// A program inside, with a clean environment. `/proc` is there for as long as it runs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        const ENTER: &str = r#"mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#;
        let mut inside = command("unshare");
        inside.args(["--mount", "--propagation=private", "sh", "-c", ENTER]).arg(self.0.path());
        inside.args(arguments).env_clear().envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("EDITOR", "/root/editor"),
            // Nobody can be asked to start a service there; to enable one works.
            ("SYSTEMD_OFFLINE", "1"),
        ]);
        inside
    }

    /// Types lines into a shell of a user, in the folder `/root` as far as that user may be there. The
    /// first line that fails ends it.
    pub fn types(&self, user: &str, lines: &str) -> Ended {
        let script = format!("cd /root 2>/dev/null || cd /\n{lines}");
        run(&mut self.command(&["runuser", "-u", user, "--", "bash", "-exc", &script]))
    }
}

fn fetch(codename: &str, base: &Path) -> Result<(), String> {
    let partial = base.with_extension("partial");
    std::fs::create_dir_all(base.parent().unwrap()).unwrap();
    std::fs::remove_dir_all(&partial).ok();
    let mut bootstrap = command("debootstrap");
    let fetched = run(bootstrap.args(["--variant=minbase", PACKAGES, codename]).arg(&partial));
    if fetched.code != Some(0) {
        let last = fetched.text.lines().last().unwrap_or_default();
        return Err(format!("debootstrap brings no Debian here: {last}"));
    }
    std::fs::rename(partial, base).map_err(|error| error.to_string())
}
