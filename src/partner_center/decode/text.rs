//! Making Microsoft's texts fit to be stored and shown (invariant 13).

/// Texts are cut to about this many bytes.
pub const TEXT_LIMIT: usize = 500;

/// What stands in place of something that may be a secret.
const REDACTED: &str = "[redacted]";

/// Words after which a secret follows.
const KEYS: &[&str] = &[
    "bearer",
    "authorization",
    "access_token",
    "id_token",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "password",
];

/// Makes a text fit to be stored, logged and printed: one line without control characters, with
/// everything that looks like a token or a secret taken out, cut to [`TEXT_LIMIT`].
pub fn tidy(text: &str) -> String {
    let visible: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(redact(&line))
}

/// Control characters, and the marks that reorder or hide text on a terminal.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn shorten(mut text: String) -> String {
    if text.len() > TEXT_LIMIT {
        let end = (0..=TEXT_LIMIT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Replaces runs of characters that look like secrets, and whatever follows a word such as
/// `client_secret`.
fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = "";
    let mut rest = text;
    while !rest.is_empty() {
        let (gap, tail) = rest.split_at(rest.find(in_run).unwrap_or(rest.len()));
        let (run, tail) = tail.split_at(tail.find(|c| !in_run(c)).unwrap_or(tail.len()));
        out.push_str(gap);
        out.push_str(if is_secret(run, previous, gap) { REDACTED } else { run });
        (previous, rest) = (run, tail);
    }
    out
}

/// Characters of tokens, secrets and the names of form fields.
fn in_run(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~+%!*;".contains(c)
}

fn is_key(run: &str) -> bool {
    KEYS.iter().any(|key| run.eq_ignore_ascii_case(key))
}

/// Whether a run is a secret: by its looks, or because a key stands right before it.
fn is_secret(run: &str, previous: &str, gap: &str) -> bool {
    let assigned = gap.contains(['=', ':']);
    let follows_key = is_key(previous) && gap.chars().all(|c| " =:\"'".contains(c));
    looks_secret(run)
        || (follows_key && !run.is_empty() && !is_key(run) && (assigned || !is_plain_word(run)))
}

/// A JSON Web Token, a client secret as Entra makes them (34 and more characters around `Q~`), or a
/// long run that mixes cases and digits as only encoded bytes do. Ids of orders have 33 characters.
fn looks_secret(run: &str) -> bool {
    let has = |test: fn(&char) -> bool| run.chars().any(|c| test(&c));
    let mixed =
        has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    (run.starts_with("eyJ") && run.len() >= 12)
        || (run.contains("Q~") && run.len() >= 20)
        || (mixed && run.len() >= 64)
}

/// A word of a sentence, as in "the access_token is missing".
fn is_plain_word(run: &str) -> bool {
    run.chars().all(|c| c.is_ascii_lowercase() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_one_printable_line() {
        assert_eq!(tidy("a\r\n\tb\u{1b}[31mc\u{202e}d"), "a b [31mc d");
    }

    #[test]
    fn texts_are_cut_on_a_character_boundary() {
        let text = tidy(&"é".repeat(400));
        assert!(text.len() <= TEXT_LIMIT + '…'.len_utf8());
        assert!(text.ends_with("é…"));
        assert_eq!(tidy(&"x".repeat(TEXT_LIMIT)).len(), TEXT_LIMIT);
    }

    #[test]
    fn invariant_13_tokens_and_secrets_are_taken_out() {
        for (text, secret) in [
            ("token eyJhbGciOiJub25lIn0.eyJ0aWQiOiJ4In0.c2ln refused", "eyJ"),
            ("Authorization: Bearer AbCdEf123456", "AbCdEf"),
            ("body was grant_type=x&client_secret=s3cretVALUE&scope=y", "s3cret"),
            ("{\"client_secret\": \"s3cretVALUE\"}", "s3cret"),
            ("Invalid client secret abc8Q~0123456789abcdefABCDEF.xyz_12", "Q~"),
            ("password = hunter", "hunter"),
            (
                "key QWxhZGRpbjpvcGVuIHNlc2FtZTEyMzQ1Njc4OTBBbGFkZGluOm9wZW4gc2VzYW1lMTIzNDU2Nzg5MA== used",
                "QWxh",
            ),
        ] {
            let tidied = tidy(text);
            assert!(!tidied.contains(secret), "{tidied}");
            assert!(tidied.contains(REDACTED), "{tidied}");
        }
    }

    #[test]
    fn ordinary_texts_stay_whole() {
        for text in [
            "Customer relationship cannot be removed due to active Azure reserved instances: UKXASSO1dezh3HdxClHxSp5UEFXGbAnt1",
            "Please call with Partner Access Token. See https://learn.microsoft.com/partner-center/developer/enable-secure-app-model#get-access-token",
            "AADSTS7000222: The provided client secret keys for app '1f2e3d4c-5b6a-4788-9900-aabbccddeeff' are expired.",
            "Reserved_VM_Instance_Standard_D1_AP_East_1_Year",
            "The access_token is missing.",
        ] {
            assert_eq!(tidy(text), text);
        }
    }
}
