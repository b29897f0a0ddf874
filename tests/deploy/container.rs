//! The image. Where no container engine is at hand, its files are put into an empty folder, as the last
//! stage of the Containerfile says, and the program is started there as the image's user.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::support::{
    PROGRAM, command, done, is_root, missing, repository, run, shown, skipped, text,
};

const TARGET: &str = "x86_64-unknown-linux-musl";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONFIGURATION: &str = r#"
[database]
url = "sqlite:/var/lib/teardownd/teardownd.db"
[metrics]
listen = "127.0.0.1:0"
[log]
format = "json"
[accounts.default]
sandbox = true
partner_tenant = "0f0e0d0c-1111-4222-8333-444455556666"
client_id = "0a0b0c0d-7777-4888-9999-aaaabbbbcccc"
credential = { kind = "client_secret", file = "secret" }
authority = "https://127.0.0.1:9"
"#;

#[tokio::test]
async fn the_image_holds_what_the_program_needs_and_nothing_else() {
    if !is_root() {
        return skipped("only root can change the root folder");
    }
    if let Some(program) = missing(&["strip", "ldd", "chroot"]) {
        return skipped(&format!("{program} is not there; install binutils, libc-bin, coreutils"));
    }
    if !Path::new(CERTIFICATES).exists() {
        return skipped("there are no certificates of authorities; install ca-certificates");
    }
    let (binary, libraries) = binary();
    let image = Image::assemble(&binary, &libraries);
    let kind = if libraries.is_empty() { "static" } else { "dynamic, with its libraries" };
    let size = std::fs::metadata(image.path("/usr/bin/teardownd")).unwrap().len() >> 20;
    shown(&format!("the image's program is {kind}, {size} MiB without optimisation"));

    let mut wanted: BTreeSet<PathBuf> =
        [CERTIFICATES, "/etc/group", "/etc/passwd", "/usr/bin/teardownd"].map(PathBuf::from).into();
    wanted.extend(libraries);
    assert_eq!(image.files(), wanted);

    let demo = done(&mut image.command(&["demo", "--tenants", "3"]));
    assert!(demo.contains("3 of 3 customers deleted and proven gone"), "{demo}");

    image.configure();
    let mut daemon = Daemon::start(image.command(&["run"]), image.folder.path().join("log"));
    daemon.ready().await;
    daemon.stop();
    let checked = run(&mut image.command(&["check"])).text;
    assert!(checked.contains("/var/lib/teardownd/teardownd.db is fit"), "{checked}");
    assert!(checked.contains("cannot connect"), "nobody listens there: {checked}");
}

/// The static program of the Containerfile, where the machine can build it; else the one the tests are
/// built with, and the libraries it needs.
fn binary() -> (PathBuf, Vec<PathBuf>) {
    let libraries = ["--print", "target-libdir", "--target", TARGET];
    let rust = run(command("rustc").args(libraries));
    if rust.code == Some(0)
        && Path::new(rust.text.trim()).exists()
        && missing(&["musl-gcc"]).is_none()
    {
        let cargo = std::env::var("CARGO").unwrap_or("cargo".to_owned());
        done(
            command(cargo)
                .args(["build", "--locked", "--target", TARGET])
                .current_dir(repository("")),
        );
        let profile = Path::new(PROGRAM).parent().unwrap();
        return (profile.with_file_name(TARGET).join("debug/teardownd"), Vec::new());
    }
    let listed = done(command("ldd").arg(PROGRAM));
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
    (PROGRAM.into(), paths.map(PathBuf::from).collect())
}

/// A root folder with the files of the image.
struct Image {
    folder: TempDir,
    user: String,
    workdir: String,
    entrypoint: String,
    environment: Vec<String>,
}

impl Image {
    /// Does what the last stage of the Containerfile says. What that takes from the stage before is
    /// made here.
    fn assemble(binary: &Path, libraries: &[PathBuf]) -> Self {
        let page = text("deploy/container/Containerfile");
        let (_, stage) = page.rsplit_once("\nFROM ").unwrap();
        let mut lines = stage.lines();
        assert_eq!(lines.next(), Some("scratch"));
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        set_mode(folder.path(), 0o755);
        let mut image = Self {
            folder,
            user: String::new(),
            workdir: String::new(),
            entrypoint: String::new(),
            environment: Vec::new(),
        };
        for (instruction, rest) in lines.filter_map(|line| line.split_once(' ')) {
            match instruction {
                "COPY" => image.copy(rest, binary),
                "USER" => rest.clone_into(&mut image.user),
                "WORKDIR" => rest.clone_into(&mut image.workdir),
                "ENV" => image.environment.push(rest.to_owned()),
                "ENTRYPOINT" => {
                    let list: Vec<String> = serde_json::from_str(rest).unwrap();
                    image.entrypoint = list.concat();
                }
                "CMD" => assert_eq!(rest, r#"["run"]"#),
                "#" | "EXPOSE" => {}
                other => panic!("the test does not know {other}"),
            }
        }
        for library in libraries {
            image.put(library, library.to_str().unwrap());
        }
        image
    }

    fn copy(&self, rest: &str, binary: &Path) {
        let (options, paths): (Vec<&str>, Vec<&str>) =
            rest.split(' ').partition(|word| word.starts_with("--"));
        let (target, sources) = paths.split_last().unwrap();
        let is_built = options.contains(&"--from=build");
        for source in sources {
            match *source {
                "/source/target/release/teardownd" => {
                    self.put(binary, target);
                    done(command("strip").arg(self.path(target)));
                }
                "/database" => {
                    std::fs::create_dir_all(self.path(target)).unwrap();
                }
                CERTIFICATES if is_built => self.put(Path::new(CERTIFICATES), target),
                file if !is_built => {
                    let name = Path::new(file).file_name().unwrap().to_str().unwrap();
                    self.put(&repository(file), &format!("{target}{name}"));
                }
                other => panic!("the test does not know what {other} is"),
            }
            for owner in options.iter().filter_map(|option| option.strip_prefix("--chown=")) {
                let (user, group) = owner.split_once(':').unwrap();
                let ids = (user.parse().ok(), group.parse().ok());
                chown(self.path(target), ids.0, ids.1).unwrap();
            }
        }
    }

    /// Copies a file, links followed.
    fn put(&self, source: &Path, target: &str) {
        let target = self.path(target);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(source, target).unwrap();
    }

    /// Mounts, so to say, a configuration and a secret for the image's user.
    fn configure(&self) {
        let folder = self.path("/etc/teardownd");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("teardownd.toml"), CONFIGURATION).unwrap();
        let secret = folder.join("secret");
        std::fs::write(&secret, "of no use").unwrap();
        let (_, group) = self.user.split_once(':').unwrap();
        chown(&secret, None, group.parse().ok()).unwrap();
        set_mode(&secret, 0o640);
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// All files, as they are named inside.
    fn files(&self) -> BTreeSet<PathBuf> {
        let listed = done(command("find").arg(self.folder.path()).args(["-type", "f"]));
        let root = self.folder.path();
        let inside = |line: &str| Path::new("/").join(Path::new(line).strip_prefix(root).unwrap());
        listed.lines().map(inside).collect()
    }

    /// Starts the program as an engine would.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command("env");
        let root = self.folder.path();
        command.arg("--ignore-environment").args(&self.environment);
        command.arg(format!("--chdir={}", self.path(&self.workdir).display()));
        command.arg("/usr/sbin/chroot").arg(format!("--userspec={}", self.user)).arg(root);
        command.arg(&self.entrypoint).args(arguments);
        command
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
