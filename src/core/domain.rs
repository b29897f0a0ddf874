//! Domain names and the patterns of `allow_domains` and `protected_domains`.
//!
//! Names are compared in the form in which they stand in DNS (UTS 46): lower case, other scripts as
//! `xn--…`. What protects compares generously: every spelling that means the same name counts. What
//! allows compares strictly: apart from the case of its letters the name must be spelt as it stands
//! in DNS, or plainly in its own script. A name that is none is protected by its letters alone and
//! never allowed.

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
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

/// The form of a name in DNS, without a dot at its end. `None` if it cannot stand there.
fn canonical(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let (ascii, checks) = (AsciiDenyList::STD3, (Hyphens::CheckFirstLast, DnsLength::Verify));
    let found = Uts46::new().to_ascii(name.as_bytes(), ascii, checks.0, checks.1).ok()?;
    Some(found.into_owned())
}

/// Whether a name is spelt as in DNS or plainly in its own script: letters that only stand for others
/// (a Kelvin sign for a k, wide forms, odd dots) make it something that nobody wrote by intention.
fn is_plain(name: &str, canonical: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let (unicode, known) =
        Uts46::new().to_unicode(canonical.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    name == canonical || (known.is_ok() && name == unicode)
}

/// Folds a domain name that a person typed, for comparison: its form in DNS, else in lower case.
pub fn fold(name: &str) -> String {
    let name = name.trim();
    canonical(name).unwrap_or_else(|| name.trim_end_matches('.').to_lowercase())
}

/// Whether the API's name is the one that the operator named, spelt plainly.
pub fn is_same(named: &str, read: &str) -> bool {
    canonical(read).is_some_and(|canonical| is_plain(read, &canonical) && fold(named) == canonical)
}

impl DomainPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, has empty labels or characters outside letters, digits and hyphens, or has
    /// a `*` anywhere but as the whole first label.
    pub fn parse(text: &str) -> Result<Self, InvalidDomainPattern> {
        let invalid = || InvalidDomainPattern { value: text.to_owned() };
        let given = text.trim();
        let (wildcard, name) = given.strip_prefix("*.").map_or(("", given), |name| ("*.", name));
        let name = canonical(name).ok_or_else(invalid)?;
        Ok(Self(format!("{wildcard}{name}")))
    }

    /// Whether it allows a name as the API gave it: strictly.
    pub fn allows(&self, name: &str) -> bool {
        canonical(name).is_some_and(|found| is_plain(name, &found) && self.covers(&found))
    }

    /// Whether it protects a name, in whatever spelling.
    pub fn protects(&self, name: &str) -> bool {
        self.covers(&fold(name))
    }

    fn covers(&self, folded: &str) -> bool {
        match self.0.strip_prefix('*') {
            // `suffix` starts with the dot, so a label can never match in part.
            Some(suffix) => folded.len() > suffix.len() && folded.ends_with(suffix),
            None => folded == self.0,
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

    fn pattern(text: &str) -> DomainPattern {
        DomainPattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_whole_labels_only() {
        let wild = pattern("*.Prod.example");
        for name in ["a.prod.example", "A.B.PROD.EXAMPLE."] {
            assert!(wild.allows(name) && wild.protects(name), "{name}");
        }
        for other in [
            "prod.example",
            ".prod.example",
            "a..prod.example",
            "nonprod.example",
            "a.nonprod.example",
            "a.prod.example.com",
            "a.prod.example..",
            " a.prod.example",
            "a b.prod.example",
            "",
        ] {
            assert!(!wild.allows(other), "{other:?}");
        }
        let exact = pattern("contoso.com");
        assert!(exact.allows("Contoso.com"));
        assert!(!exact.allows("a.contoso.com") && !exact.protects("a.contoso.com"));
    }

    #[test]
    fn letters_that_only_look_alike_are_other_names() {
        let exact = pattern("contoso.com");
        // Cyrillic о, Greek ο, a dotless ı, a zero, an accent of its own.
        for name in ["c\u{43e}ntoso.com", "cont\u{3bf}so.com", "cont0so.com", "conto\u{301}so.com"]
        {
            assert!(!exact.allows(name) && !exact.protects(name), "{name}");
        }
        assert!(!pattern("mini.example").allows("m\u{131}ni.example"));
    }

    #[test]
    fn odd_spellings_of_a_name_are_protected_and_never_allowed() {
        let exact = pattern("kontoso.com");
        // A Kelvin sign, wide letters, an ideographic full stop, a soft hyphen.
        for name in [
            "\u{212a}ontoso.com",
            "\u{ff4b}\u{ff4f}ntoso.com",
            "kontoso\u{3002}com",
            "kon\u{ad}toso.com",
        ] {
            assert!(exact.protects(name), "{name:?}");
            assert!(!exact.allows(name), "{name:?}");
            assert!(!is_same("kontoso.com", name), "{name:?}");
        }
    }

    #[test]
    fn a_name_in_another_script_is_the_one_that_stands_in_dns() {
        let exact = pattern("M\u{fc}nchen.example");
        assert_eq!(exact, pattern("xn--mnchen-3ya.example"));
        for name in ["m\u{fc}nchen.example", "xn--mnchen-3ya.example", "XN--MNCHEN-3YA.example."] {
            assert!(exact.allows(name) && exact.protects(name), "{name}");
            assert!(is_same("M\u{dc}NCHEN.example", name), "{name}");
        }
        // Letters and accents apart, and capitals beyond ASCII: the same name, oddly spelt.
        for name in ["mu\u{308}nchen.example", "M\u{dc}NCHEN.example"] {
            assert!(exact.protects(name) && !exact.allows(name), "{name}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a*.example",
            "a..b",
            "*.*.example",
            "a b.example",
            "a_b.example",
            "-a.b",
        ] {
            assert!(DomainPattern::parse(text).is_err(), "{text:?}");
        }
    }
}
