//! Domain names and the patterns of `allow_domains` and `protected_domains`.

use std::fmt;

use serde::Serialize;

/// A pattern over whole labels: `contoso.com` matches only itself, `*.contoso.com` matches names
/// with exactly one or more labels in front. Nothing else is a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DomainPattern(String);

/// Why a text is not a domain pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a domain pattern: expected a name such as \"contoso.onmicrosoft.com\" or \"*.onmicrosoft.com\""
)]
pub struct InvalidDomainPattern {
    /// The text as it was given.
    pub value: String,
}

/// Folds a domain name for comparison: lower case, no trailing dot, no surrounding blanks. A name
/// that is not plain ASCII is kept as it is, in lower case: it then equals no ASCII pattern.
pub fn fold(name: &str) -> String {
    name.trim().trim_end_matches('.').to_lowercase()
}

impl DomainPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, has empty labels or characters outside letters, digits and hyphens, or has
    /// a `*` anywhere but as the whole first label.
    pub fn parse(text: &str) -> Result<Self, InvalidDomainPattern> {
        let folded = fold(text);
        let name = folded.strip_prefix("*.").unwrap_or(&folded);
        let label_ok = |label: &str| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        if name.split('.').all(label_ok) {
            Ok(Self(folded))
        } else {
            Err(InvalidDomainPattern { value: text.to_owned() })
        }
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let name = fold(name);
        match self.0.strip_prefix('*') {
            // `suffix` starts with the dot, so a label can never match in part.
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => name == self.0,
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_labels_only() {
        let wild = DomainPattern::parse("*.Prod.example").unwrap();
        assert!(wild.matches("a.prod.example"));
        assert!(wild.matches("A.B.PROD.EXAMPLE."));
        for other in ["prod.example", "nonprod.example", "a.nonprod.example", "a.prod.example.com"]
        {
            assert!(!wild.matches(other), "{other}");
        }
        let exact = DomainPattern::parse("contoso.com").unwrap();
        assert!(exact.matches("Contoso.com"));
        assert!(!exact.matches("a.contoso.com"));
        // A Cyrillic letter that looks like a Latin one is another name.
        assert!(!exact.matches("cont\u{43e}so.com"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["", "*", "*.", "a*.example", "a..b", "*.*.example", "a b.example"] {
            assert!(DomainPattern::parse(text).is_err(), "{text:?}");
        }
    }
}
