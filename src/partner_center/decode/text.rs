//! Making Microsoft's texts fit to be stored and shown (invariant 13).

/// Texts are cut to about this many bytes.
pub const TEXT_LIMIT: usize = 500;

/// A whole body that is kept is cut to about this many bytes. Faults have a few hundred; a page of a
/// proxy may have more than anybody will read.
pub const BODY_LIMIT: usize = 16 * 1024;

/// What stands in place of something that may be a secret.
const REDACTED: &str = "[redacted]";

/// A key whose value begins with a word, the scheme.
const AUTHORIZATION: &str = "authorization";

/// Words after which a secret follows.
const KEYS: &[&str] = &[
    "bearer",
    "basic",
    AUTHORIZATION,
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
    tidy_to(TEXT_LIMIT, text)
}

/// The same of a whole body, cut to `BODY_LIMIT`.
pub fn tidy_whole(text: &str) -> String {
    tidy_to(BODY_LIMIT, text)
}

fn tidy_to(limit: usize, text: &str) -> String {
    let visible: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(redact(&line), limit)
}

/// Control characters, and the marks that reorder or hide text on a terminal.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn shorten(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
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

/// Whether a run is a secret: by its looks, or because a key stands right before it. Microsoft's own
/// words may follow a key as well ("Authorization Failed"); what is assigned to one is a value.
fn is_secret(run: &str, previous: &str, gap: &str) -> bool {
    let assigned = gap.contains(['=', ':']) && !previous.eq_ignore_ascii_case(AUTHORIZATION);
    let follows_key = is_key(previous) && gap.chars().all(|c| " =:\"'".contains(c));
    looks_secret(run)
        || (follows_key && !run.is_empty() && !is_key(run) && (assigned || !is_word(run)))
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

/// A word of a sentence, as in "the access_token is missing" or "Authorization Failed": letters of one
/// case, but for the first. Encoded bytes mix cases or hold digits.
fn is_word(run: &str) -> bool {
    let word = run.trim_end_matches(['.', '!', ';']);
    let one_case = |part: &str| {
        let tail = part.get(1..).unwrap_or_default();
        part.bytes().all(|byte| byte.is_ascii_alphabetic())
            && (tail.bytes().all(|byte| byte.is_ascii_lowercase())
                || part.bytes().all(|byte| byte.is_ascii_uppercase()))
    };
    word.len() <= 24 && word.split('-').all(one_case)
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
        let whole = tidy_whole(&"x ".repeat(BODY_LIMIT));
        assert!(whole.len() > BODY_LIMIT && whole.len() <= BODY_LIMIT + '…'.len_utf8());
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
            ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNl"),
            ("the header authorization=AbCdEf123456 was sent", "AbCdEf"),
            ("Bearer 0123456789abcdef is not valid", "0123"),
            ("Bearer AbCdEfGhIjKl is not valid", "AbCd"),
            ("bearer abcdefghijklmnopqrstuvwxyzabcd", "abcdefgh"),
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
            "Authorization Failed",
            "Authorization: Failed. The caller lacks the role AdminAgent.",
            "Bearer Token Missing; Basic authentication is not supported.",
            "The Password Policy and the Refresh_Token Lifetime apply",
        ] {
            assert_eq!(tidy(text), text);
        }
    }
}
