//! What can be wrong with the files of a credential.

use std::fmt;
use std::path::PathBuf;

/// What a file of a credential holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A client secret.
    ClientSecret,
    /// A certificate, as PEM. No secret.
    Certificate,
    /// The private key of a certificate, as PEM.
    PrivateKey,
    /// A token of another identity provider. It lives for an hour or so, and who mounts it (such as
    /// Kubernetes) lets every user of the container read it.
    FederatedToken,
    /// A refresh token.
    RefreshToken,
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientSecret => "client secret",
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::FederatedToken => "federated token",
            Self::RefreshToken => "refresh token",
        })
    }
}

impl SecretKind {
    /// The permission bits that a file of this kind must not have, and the remedy: nobody but the
    /// owner and the group may read a secret, and nobody else may change any of these files.
    pub(super) const fn forbidden(self) -> (u32, &'static str) {
        match self {
            Self::ClientSecret | Self::PrivateKey | Self::RefreshToken => (0o006, "640"),
            Self::Certificate | Self::FederatedToken => (0o002, "o-w"),
        }
    }
}

/// Why a credential cannot be used. Each text names the file and what to do; none holds anything of
/// its content (invariant 13).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read the {kind} file {}: {why}; make it readable for the user teardownd runs as", path.display())]
    Unreadable {
        /// What it should hold.
        kind: SecretKind,
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// It should lie in `${CREDENTIALS_DIRECTORY}`, and nothing says where that is.
    #[error("the {kind} file {} cannot be found: CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential= and for nothing else, so run this in such a unit, or name the file itself", path.display())]
    NotHandedOver {
        /// What it should hold.
        kind: SecretKind,
        /// The path as configured.
        path: PathBuf,
    },
    /// It is no file, such as a directory.
    #[error("{} is not a file; put the {kind}, and nothing else, into a file there", path.display())]
    NotAFile {
        /// What it should hold.
        kind: SecretKind,
        /// The path.
        path: PathBuf,
    },
    /// Every user of the machine can read or change it.
    #[error("the {kind} file {path} is open to every user (mode {mode:04o}); run: chmod {remedy} {path}", path = path.display())]
    OpenToAll {
        /// What it holds.
        kind: SecretKind,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The mode for `chmod`.
        remedy: &'static str,
    },
    /// Nothing is in it.
    #[error("the {kind} file {} is empty; write the {kind} into it", path.display())]
    Empty {
        /// What it should hold.
        kind: SecretKind,
        /// The file.
        path: PathBuf,
    },
    /// It is longer than any such file is.
    #[error("the {kind} file {} is longer than 64 KiB, so it holds something else; name the file of the {kind}", path.display())]
    TooLong {
        /// What it should hold.
        kind: SecretKind,
        /// The file.
        path: PathBuf,
    },
    /// It holds something other than one line of text.
    #[error("the {kind} file {} does not hold a {kind} (one line of text); write the {kind}, and nothing else, into it", path.display())]
    NotOneLine {
        /// What it should hold.
        kind: SecretKind,
        /// The file.
        path: PathBuf,
    },
    /// It holds no PEM of the wanted kind.
    #[error("the {kind} file {} holds no {kind} in PEM form; it needs a part that begins with -----BEGIN {label}-----", path.display())]
    NotPem {
        /// What it should hold.
        kind: SecretKind,
        /// The file.
        path: PathBuf,
        /// The label such a part has.
        label: &'static str,
    },
    /// A private key behind a passphrase.
    #[error("the private key file {path} is protected by a passphrase, which a daemon cannot type; write it without one: openssl pkey -in {path} -out KEY.pem", path = path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A private key of another kind or size.
    #[error("the private key in {} cannot sign ({why}); Entra takes RSA keys of 2048 bits and more", path.display())]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// The library's word for it.
        why: String,
    },
    /// Certificate and key are of two pairs.
    #[error("the private key in {} does not belong to the certificate in {}; name the two files of one pair", key.display(), certificate.display())]
    NotAPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// An environment variable that holds nothing.
    #[error(
        "the environment variable {name}, which should hold the client secret, is not set or empty; set it, or name a file"
    )]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// A new refresh token could not be written. The answer it came with is not used.
    #[error("the renewed refresh token cannot be stored in {}: {why}; its folder must be writable for the user teardownd runs as, and have room", path.display())]
    NotStored {
        /// The file it should replace.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The runtime shut down while the files were being read.
    #[error("reading the credential was broken off; it is read again at the next try")]
    BrokenOff,
}
