//! The Debian package on a fresh Debian, by the words of `docs/install.md`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::daemon::Daemon;
use crate::page::{blocks, edited};
use crate::root::Root;
use crate::sandbox::{Account, SECRET, free_port};
use crate::support::{PROGRAM, command, done, repository, shown, skipped, text};
use crate::unit::settings;

const SECTION: &str = "Debian package with systemd";
const INSTALLED_UNIT: &str = "/usr/lib/systemd/system/teardownd.service";
/// Beside the customer that the page names.
const OTHERS: usize = 4;

/// Everything is typed as it stands on the page. Four things are not: an editor saves a file that is
/// prepared, the port is a free one, who starts the daemon is this test, since no systemd runs there
/// (as the unit says: program, user, folder, umask and credentials), and it ends with more customers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_debian_tears_customers_down_by_the_words_of_the_page() {
    let root = match Root::fresh() {
        Ok(root) => root,
        Err(reason) => return skipped(&reason),
    };
    let install = Install::prepare(root).await;
    let steps = blocks(SECTION, "sh");
    let mut daemon = None;
    for step in &steps {
        if step.starts_with("usermod") {
            install.done("root", "useradd --create-home anna");
        }
        // What a member of the group types names no user.
        let user = if step.starts_with("teardownd ") { "anna" } else { "root" };
        if step.starts_with("apt-get purge") {
            install.tears_the_others_down();
            install.keeps_the_secret();
            let log = daemon.take().map(Daemon::stop).expect("the page starts the daemon");
            assert!(!log.contains(SECRET) && !log.contains("eyJ0eXAi"), "invariant 13: {log}");
        }
        install.done(user, step);
        if step.starts_with("apt-get install") {
            install.is_installed_and_not_started();
        }
        if step.starts_with("systemctl enable") {
            let mut started = install.start();
            started.ready().await;
            daemon = Some(started);
        }
    }
    install.is_purged();
    let count = steps.iter().flat_map(|step| step.lines()).count();
    shown(&format!(
        "{count} lines of docs/install.md were typed into a fresh Debian, and {} customers are gone",
        install.account.tenants.len()
    ));
}

struct Install {
    root: Root,
    account: Account,
    port: u16,
}

impl Install {
    /// Puts the package into the folder `/root`, and an editor that saves what the page says.
    async fn prepare(root: Root) -> Self {
        let folder = root.path("/root");
        let mut package = command(repository("scripts/package"));
        done(package.args(["--fast", "--binary", PROGRAM, "--output"]).arg(&folder));

        let shown = blocks(SECTION, "toml").concat();
        let id = |key: &str| value(&shown, key).parse().unwrap();
        let enqueue = blocks(SECTION, "sh").concat();
        let (_, words) = enqueue.split_once("teardownd enqueue ").unwrap();
        let words: Vec<&str> = words.lines().next().unwrap().split(' ').collect();
        let customer = (words[0].parse().unwrap(), *words.last().unwrap());
        let account = Account::serve(id("partner_tenant"), id("client_id"), customer, OTHERS).await;

        let port = free_port().await;
        let (url, pace) = (account.url(), "initial = \"100ms\"\nmax = \"500ms\"");
        let own = format!(
            "[accounts.default]\napi_base = \"{url}\"\nauthority = \"{url}\"\n\
             requests_per_minute = 1000000\n[safety]\ngrace = \"0s\"\n\
             [metrics]\nlisten = \"127.0.0.1:{port}\"\n[polling]\n{pace}\n[retry]\n{pace}\n"
        );
        let config = edited(&edited(&text("config/packaged.toml"), &shown), &own);
        write(&folder.join("prepared/teardownd.toml"), &config, 0o600);
        write(&folder.join("prepared/teardownd.client-secret"), SECRET, 0o600);
        let editor = "#!/bin/sh\ncat \"/root/prepared/${1##*/}\" >\"$1\"\n";
        write(&folder.join("editor"), editor, 0o700);
        Self { root, account, port }
    }

    /// Types lines that must succeed.
    fn done(&self, user: &str, lines: &str) -> String {
        let lines = lines.replace("127.0.0.1:9464", &format!("127.0.0.1:{}", self.port));
        let ended = self.root.types(user, &lines);
        assert_eq!(ended.code, Some(0), "{user}: {lines}\n{}", ended.text);
        ended.text
    }

    fn is_installed_and_not_started(&self) {
        assert!(self.root.types("root", "systemctl is-enabled teardownd").code != Some(0));
        self.done("root", "systemd-analyze verify --man=no teardownd.service 2>&1 | tee /dev/stderr | wc -l | grep -x 0");
        self.done("root", "bash -n /usr/share/bash-completion/completions/teardownd");
        for file in [
            "man/man1/teardownd.1",
            "man/man1/teardownd-enqueue.1",
            "zsh/vendor-completions/_teardownd",
            "fish/vendor_completions.d/teardownd.fish",
            "doc/teardownd/docs/install.md",
            "doc/teardownd/README.md",
        ] {
            let path = self.root.path("/usr/share").join(file);
            assert!(std::fs::metadata(&path).is_ok_and(|file| file.len() > 0), "{file}");
        }
        let conffiles =
            self.done("root", "dpkg-query --show --showformat='${Conffiles}' teardownd");
        assert!(conffiles.contains("/etc/teardownd/teardownd.toml"), "{conffiles}");
        assert!(!self.root.path("/var/lib/teardownd/teardownd.db").exists());
    }

    /// Starts the daemon as systemd would by the installed unit.
    fn start(&self) -> Daemon {
        let unit = std::fs::read_to_string(self.root.path(INSTALLED_UNIT)).unwrap();
        let unit = settings(&unit);
        let [user, group, program, folder, umask, credential] =
            ["User", "Group", "ExecStart", "WorkingDirectory", "UMask", "LoadCredential"]
                .map(|key| unit[key]);
        let script = format!(
            "credentials=/run/credentials/teardownd.service
             install -d -m 0500 -o {user} -g {group} $credentials
             install -m 0400 -o {user} -g {group} /etc/credstore/{credential} $credentials/
             cd {folder}
             umask {umask}
             exec setpriv --reuid={user} --regid={group} --init-groups --no-new-privs \
               env CREDENTIALS_DIRECTORY=$credentials {program}"
        );
        let command = self.root.command(&["bash", "-ec", &script]);
        Daemon::start(command, self.root.path("/root/log"))
    }

    /// Anna queues every customer that is left.
    fn tears_the_others_down(&self) {
        let mut list = "tenant_id,domain\n".to_owned();
        for (tenant, domain) in &self.account.tenants[1..] {
            list.push_str(&format!("{tenant},{domain}\n"));
        }
        write(&self.root.path("/tmp/tenants.csv"), &list, 0o644);
        self.done("anna", "teardownd enqueue --file /tmp/tenants.csv --wait --timeout 10m");
        assert_eq!(self.account.simulator.snapshot().customers_left, 0);
        let journal = self.account.simulator.journal();
        let breaches: Vec<_> = journal.breaches().iter().map(ToString::to_string).collect();
        assert_eq!(breaches, Vec::<String>::new());
    }

    /// Who works on the database cannot read the secret, and it stands nowhere else (invariant 13).
    fn keeps_the_secret(&self) {
        for file in ["/etc/credstore", "/run/credentials/teardownd.service"] {
            let reached = self.root.types("anna", &format!("cat {file}/teardownd.client-secret"));
            assert!(reached.text.contains("Permission denied"), "{}", reached.text);
        }
        let outside = self.root.types("nobody", "teardownd list");
        assert_eq!(outside.code, Some(5), "only members work on the database: {}", outside.text);
        for entry in std::fs::read_dir(self.root.path("/var/lib/teardownd")).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::metadata(&path).unwrap();
            if metadata.is_dir() {
                assert_eq!(metadata.mode() & 0o777, 0o700, "{}", path.display());
                continue;
            }
            assert_eq!(metadata.mode() & 0o777, 0o660, "{}", path.display());
            let bytes = std::fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!holds(SECRET) && !holds("eyJ0eXAi"), "invariant 13: {}", path.display());
        }
    }

    /// After a purge the database is still there, unless the purge is told otherwise.
    fn is_purged(&self) {
        let database = self.root.path("/var/lib/teardownd/teardownd.db");
        assert!(database.exists() && !self.root.path("/etc/teardownd/teardownd.toml").exists());
        assert!(!self.root.path(INSTALLED_UNIT).exists());
        self.done("root", "apt-get install ./teardownd_*.deb");
        assert!(database.exists());
        self.done("root", "TEARDOWND_PURGE=database apt-get purge --yes teardownd");
        assert!(!self.root.path("/var/lib/teardownd").exists());
    }
}

/// The text of a key in a block of the page.
fn value<'a>(block: &'a str, key: &str) -> &'a str {
    let line = block.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(" = ").trim_matches('"')
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
