//! The address of a database on a PostgreSQL server.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// Parameters that may stand behind the `?`.
const PARAMETERS: [&str; 7] =
    ["host", "port", "user", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`, as the programs of PostgreSQL take it. It shows
/// itself without the password and the parameters.
#[derive(Clone)]
pub struct ServerUrl {
    text: SecretString,
    shown: String,
    options: Box<PgConnectOptions>,
    has_password: bool,
    is_verified: bool,
    /// The files of certificates and keys.
    files: Vec<PathBuf>,
}

/// An address that cannot be used, with what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(pub &'static str);

impl ServerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`InvalidUrl`], whose text repeats nothing of the address: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(text)
            .map_err(|_| InvalidUrl("\"sqlite:PATH\" or \"postgres://USER@HOST:PORT/DATABASE\""))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(InvalidUrl("\"sqlite:PATH\" or \"postgres://USER@HOST:PORT/DATABASE\""));
        }
        if url.query_pairs().any(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
            return Err(InvalidUrl(
                "no parameters but host, port, user, sslmode, sslrootcert, sslcert and sslkey",
            ));
        }
        let parameter = |name: &str| {
            url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
        };
        let database = url.path().trim_start_matches('/');
        if database.is_empty() || database.contains('/') {
            return Err(InvalidUrl(
                "the name of a database behind the host: postgres://USER@HOST/DATABASE",
            ));
        }
        let host = parameter("host").or_else(|| url.host_str().map(str::to_owned));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err(InvalidUrl(
                "a host: postgres://USER@HOST/DATABASE, or host=/FOLDER for a socket",
            ));
        };
        let user = parameter("user").unwrap_or_else(|| url.username().to_owned());
        if user.is_empty() {
            return Err(InvalidUrl("a user: postgres://USER@HOST/DATABASE"));
        }
        let files: Vec<PathBuf> = ["sslrootcert", "sslcert", "sslkey"]
            .into_iter()
            .filter_map(parameter)
            .map(PathBuf::from)
            .collect();
        if files.iter().any(|file| file.is_relative()) {
            return Err(InvalidUrl("absolute paths in sslrootcert, sslcert and sslkey"));
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| {
            InvalidUrl("parameters with values that PostgreSQL's own programs take")
        })?;
        let is_near = is_local(&host);
        let options = match parameter("sslmode") {
            Some(_) => options,
            None if is_near => options.ssl_mode(PgSslMode::Disable),
            None => options.ssl_mode(PgSslMode::VerifyFull),
        };
        let is_verified = is_near
            || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa);
        let port = options.get_port();
        // It can be read again as an address, without the password.
        let shown = if host.starts_with('/') {
            format!("postgres://{user}@localhost:{port}/{database}?host={host}")
        } else {
            format!("postgres://{user}@{host}:{port}/{database}")
        };
        let has_password = url.password().is_some();
        let options = Box::new(options);
        Ok(Self { text: text.into(), shown, options, has_password, is_verified, files })
    }

    /// Whether the address itself holds a password.
    pub fn has_password(&self) -> bool {
        self.has_password
    }

    /// Whether nobody between here and the server can read along or answer in its place.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// The first file of a certificate or key that cannot be read.
    pub(super) fn unreadable(&self) -> Option<(&Path, std::io::Error)> {
        let read = |file: &'_ PathBuf| std::fs::File::open(file).err();
        self.files.iter().find_map(|file| Some((file.as_path(), read(file)?)))
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::clone(&self.options)
    }
}

/// Whether packets to this host stay on this machine.
fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl PartialEq for ServerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text.expose_secret() == other.text.expose_secret()
    }
}

impl Eq for ServerUrl {}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_neither_password_nor_parameters() {
        let url = ServerUrl::parse("postgres://ann:s3cret@db.example:6432/t?sslmode=require");
        let url = url.unwrap();
        assert_eq!(url.to_string(), "postgres://ann@db.example:6432/t");
        assert_eq!(format!("{url:?}"), "postgres://ann@db.example:6432/t");
        assert!(url.has_password() && !url.is_verified());
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_the_address_says_otherwise() {
        let mode = |text: &str| {
            let url = ServerUrl::parse(text).unwrap();
            (format!("{:?}", url.options().get_ssl_mode()), url.is_verified())
        };
        assert_eq!(mode("postgres://a@db.example/t"), ("VerifyFull".to_owned(), true));
        assert_eq!(mode("postgres://a@127.0.0.1/t"), ("Disable".to_owned(), true));
        assert_eq!(mode("postgres://a@[::1]/t"), ("Disable".to_owned(), true));
        assert_eq!(mode("postgres://a@x/t?host=/run/postgresql"), ("Disable".to_owned(), true));
        assert_eq!(
            mode("postgres://a@db.example/t?sslmode=disable"),
            ("Disable".to_owned(), false)
        );
    }

    #[test]
    fn addresses_that_say_too_little_or_too_much_are_refused_without_being_repeated() {
        for (text, reason) in [
            ("postgres://", "postgres://USER@HOST"),
            ("postgres://ann:s3cret@db.example", "the name of a database"),
            ("postgres:///t?user=ann", "a host"),
            ("postgres://db.example/t", "a user"),
            ("mysql://ann:s3cret@db.example/t", "sqlite:PATH"),
            ("postgres://ann@db.example/t?application_name=x", "no parameters but"),
            ("postgres://ann@db.example/t?sslmode=perhaps", "parameters with values"),
            ("postgres://ann@db.example/t?sslrootcert=ca.pem", "absolute paths"),
        ] {
            let error = ServerUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
