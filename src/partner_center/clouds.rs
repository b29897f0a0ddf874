//! Microsoft's clouds and the check of the addresses that may replace theirs.

use std::fmt;

use url::{Host, Url};

/// A cloud with its own API base or token authority (kvamseek/partner-center,
/// `partner-center-rest-urls.md`; MicrosoftDocs/entra-docs, `authentication-national-cloud.md`). An
/// integration sandbox has no host of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// The worldwide cloud.
    Global,
    /// Operated by 21Vianet.
    China,
    /// US Government: the worldwide API with an authority of its own.
    UsGov,
}

impl Cloud {
    /// Every cloud.
    pub const ALL: [Self; 3] = [Self::Global, Self::China, Self::UsGov];

    /// The name used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::China => "china",
            Self::UsGov => "usgov",
        }
    }

    /// The cloud of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.as_str().eq_ignore_ascii_case(name))
    }

    /// Base of the REST API, without `/v1`.
    pub const fn api_base(self) -> &'static str {
        match self {
            Self::Global | Self::UsGov => "https://api.partnercenter.microsoft.com",
            Self::China => "https://partner.partnercenterapi.microsoftonline.cn",
        }
    }

    /// Token authority.
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::China => "https://login.partner.microsoftonline.cn",
            Self::UsGov => "https://login.microsoftonline.us",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct InvalidEndpoint {
    /// Configuration key.
    pub key: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// Reads the address of configuration key `key`.
///
/// # Errors
/// As [`check`].
pub fn endpoint(key: &str, text: &str) -> Result<Url, InvalidEndpoint> {
    let url = Url::parse(text.trim()).map_err(|error| InvalidEndpoint {
        key: key.to_owned(),
        problem: format!("is not an address ({error}): expected one such as \"https://api.partnercenter.microsoft.com\""),
    })?;
    check(key, &url)?;
    Ok(url)
}

/// Checks an address: https, or plain http to a loopback address, with nothing but host, port and
/// path. Tokens and secrets travel to it.
///
/// # Errors
/// When it is anything else. The text names the key and never a user name or password in it.
pub fn check(key: &str, url: &Url) -> Result<(), InvalidEndpoint> {
    let refuse = |problem: String| Err(InvalidEndpoint { key: key.to_owned(), problem });
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "holds a user name or password: credentials belong in credential".to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse(format!(
            "= {url} has a query or fragment: expected scheme, host and path only"
        ));
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        "http" => refuse(format!(
            "= {url} is plain http: use https; plain http is allowed only for loopback addresses such as 127.0.0.1"
        )),
        _ => refuse(format!("= {url} is not an https address")),
    }
}

/// Whether an address leads to this machine: a loopback address, or `localhost`, which never leaves
/// it (RFC 6761).
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_sound_addresses() {
        for cloud in Cloud::ALL {
            assert_eq!(Cloud::parse(&cloud.as_str().to_uppercase()), Some(cloud));
            endpoint("api_base", cloud.api_base()).unwrap();
            endpoint("authority", cloud.authority()).unwrap();
        }
        assert_eq!(Cloud::parse("mars"), None);
    }

    #[test]
    fn plain_http_is_for_loopback_addresses_only() {
        for fine in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9/x",
            "http://[::1]:9",
            "http://localhost:1",
            "https://a.example",
        ] {
            endpoint("accounts.x.api_base", fine).unwrap();
        }
        for wrong in [
            "http://api.example",
            "http://localhost.example",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
            "ftp://127.0.0.1",
            "https://u:secret@a.example",
            "https://a.example?x=1",
            "a.example",
            "",
        ] {
            let error = endpoint("accounts.x.api_base", wrong).unwrap_err().to_string();
            assert!(error.starts_with("accounts.x.api_base "), "{error}");
            assert!(!error.contains("secret"), "invariant 13: {error}");
        }
    }
}
