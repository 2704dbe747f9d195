//! What of a URL may be shown, and which part of it names the attachment.
//!
//! Both work on the text, so that what is not a valid URL is shown and named no differently.

use std::borrow::Cow;

/// What stands in the place of a secret.
const REDACTED: &str = "REDACTED";

/// The text of a URL without its secrets: userinfo is dropped, and the values of parameters that carry signatures,
/// keys, tokens or passwords (in the query, the fragment and `;` path parameters) become `REDACTED`. A value that is
/// itself a URL with such parameters becomes `REDACTED` whole. Any text will do; what is not a URL is treated alike.
pub fn redact_url(text: &str) -> String {
    // The URL standard skips control characters, so that they must not hide where an authority begins.
    let mut text = match text.contains(char::is_control) {
        true => Cow::Owned(text.replace(char::is_control, "").trim().to_owned()),
        false => Cow::Borrowed(text.trim()),
    };
    // Once is enough for a URL; in other text, what is left may again look like one.
    while let Cow::Owned(shorter) = without_userinfo(&text) {
        text = Cow::Owned(shorter.trim().to_owned());
    }
    let (text, fragment) = split_before(&text, '#');
    let (path, query) = split_before(text, '?');
    let mut out = String::with_capacity(text.len() + fragment.len());
    redact_parameters(path, &[';', '/'], &mut out);
    redact_parameters(query, &['?', '&'], &mut out);
    redact_parameters(fragment, &['#', '?', '&'], &mut out);
    out
}

/// The text before the first `mark`, and the rest with it.
fn split_before(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

/// Copies what stands between the separators, and the separators, without the values of secret parameters.
fn redact_parameters(text: &str, separators: &[char], out: &mut String) {
    for piece in text.split_inclusive(separators) {
        let pair = piece.strip_suffix(separators).unwrap_or(piece);
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && (is_secret(name) || hides_secret(value)) => {
                out.extend([name, "=", REDACTED]);
            }
            _ => out.push_str(pair),
        }
        out.push_str(&piece[pair.len()..]);
    }
}

/// Whether a value is, or carries percent-encoded, a URL with userinfo or with secret parameters.
fn hides_secret(value: &str) -> bool {
    let mut value = Cow::Borrowed(value);
    // Each round undoes one level of encoding; deeper nesting than this is not met in practice.
    for _ in 0..4 {
        let secret = |pair: &str| pair.split_once('=').is_some_and(|(name, v)| !v.is_empty() && is_secret(name));
        if value.split(['?', '&', ';', '#']).any(secret) || (value.contains("//") && without_userinfo(&value) != *value) {
            return true;
        }
        match decoded(&value) {
            Cow::Owned(inner) => value = Cow::Owned(inner),
            Cow::Borrowed(_) => return false,
        }
    }
    value.contains('%')
}

/// The text with everything between the scheme and the last `@` of the authority taken out.
fn without_userinfo(text: &str) -> Cow<'_, str> {
    authority_starts(text).find_map(|start| without_userinfo_at(text, start)).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn without_userinfo_at(text: &str, start: usize) -> Option<String> {
    let rest = &text[start..];
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let at = match rest[..end].rfind('@') {
        Some(at) => Some(at),
        // `user:pa/ss@host`: what stands where the port belongs is no number, so the password goes on.
        None if !ends_in_port(&rest[..end]) => rest.rfind('@'),
        None => None,
    };
    at.map(|at| format!("{}{}", &text[..start], &rest[at + 1..]))
}

/// Where an authority may begin: after `scheme:` at the beginning (the URL standard asks for no slashes), or at the
/// beginning itself, and after the first `://`; any further slashes are skipped.
fn authority_starts(text: &str) -> impl Iterator<Item = usize> {
    let scheme = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
    let leading = scheme.filter(|colon| *colon > 0 && text[*colon..].starts_with(':')).map_or(0, |colon| colon + 1);
    let first = text.find("://").filter(|at| !text[..*at].contains(['?', '#'])).map(|at| at + 1);
    let after_slashes = |at: usize| text.len() - text[at..].trim_start_matches(['/', '\\']).len();
    first.into_iter().chain([leading]).map(after_slashes).collect::<Vec<_>>().into_iter()
}

/// Whether an authority has no port, or a number as its port.
fn ends_in_port(authority: &str) -> bool {
    let after_address = authority.rfind(']').map_or(authority, |bracket| &authority[bracket..]);
    after_address.rsplit_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the value of a parameter of this name is a secret. Names are compared in lower case, percent-decoded,
/// without `-`, `_`, `.` and brackets.
fn is_secret(name: &str) -> bool {
    let plain: String = decoded(name).chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.contains(&plain.as_str()) || SECRET_PARTS.iter().any(|part| plain.contains(part))
}

/// Parts that make a name secret wherever they stand (`X-Amz-Signature`, `refresh_token`, `db.password`, …).
const SECRET_PARTS: [&str; 11] = [
    "token",
    "secret",
    "passw",
    "signature",
    "credential",
    "apikey",
    "accesskey",
    "authorization",
    "privatekey",
    "keypairid",
    "sessionid",
];

/// Whole names: Azure SAS and CloudFront signatures, AWS V2 and GCS V2 access ids, and what people call their secrets.
const SECRET_NAMES: [&str; 28] = [
    "sig",
    "policy",
    "googleaccessid",
    "key",
    "auth",
    "pwd",
    "pass",
    "passphrase",
    "pin",
    "otp",
    "jwt",
    "session",
    "sid",
    "sess",
    "code",
    "codeverifier",
    "assertion",
    "samlresponse",
    "samlrequest",
    "ticket",
    "hmac",
    "hash",
    "sign",
    "bearer",
    "cookie",
    "subscriptionkey",
    "functionkey",
    "skoid",
];

/// Undoes one level of percent-encoding, where there is any.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let escape = (byte == b'%').then(|| hex_pair(bytes.get(i + 1..i + 3)?)).flatten();
        out.push(escape.unwrap_or(byte));
        i += if escape.is_some() { 3 } else { 1 };
    }
    if out == bytes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(pair.first()?)? * 16 + digit(pair.get(1)?)?)
}

/// The part of a URL that names the attachment: the text, trimmed of white space, without the parameters of a
/// presigned signature. They are dropped only where one scheme's set is complete, so that a URL signed anew is the
/// same attachment, and a parameter that merely shares a name is kept. All else stays to the letter and in order,
/// the fragment included; a `?` with nothing left behind it goes too.
///
/// The result is stored as part of ids for ever: the sets and this function must not change their meaning.
pub fn identity(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let (main, fragment) = split_before(text, '#');
    let Some((path, query)) = main.split_once('?') else { return Cow::Borrowed(text) };
    let complete = complete(query);
    if complete.is_empty() {
        return Cow::Borrowed(text);
    }
    let kept: Vec<&str> = query.split('&').filter(|p| !complete.iter().any(|scheme| scheme.owns(name_of(p)))).collect();
    let kept = kept.join("&");
    let mark = if kept.is_empty() { "" } else { "?" };
    Cow::Owned([path, mark, &kept, fragment].concat())
}

/// The query of a URL, as it stands there.
pub(super) fn query_of(text: &str) -> Option<&str> {
    split_before(text.trim(), '#').0.split_once('?').map(|(_, query)| query)
}

/// The schemes of which a query has the complete set.
pub(super) fn complete(query: &str) -> Vec<&'static Presigned> {
    let names: Vec<&str> = query.split('&').map(name_of).collect();
    PRESIGNED.iter().filter(|scheme| scheme.is_complete(&names)).collect()
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// The query parameters of one scheme of presigned URLs.
pub(super) struct Presigned {
    /// The scheme's name for people.
    pub(super) name: &'static str,
    /// How it says until when it is valid.
    pub(super) validity: Validity,
    /// All of these, and of `either` at least one, make the set complete.
    required: &'static [&'static str],
    either: &'static [&'static str],
    /// These may come with the set, and go with it.
    optional: &'static [&'static str],
}

/// How a scheme says until when its signature is valid; the texts are names of parameters.
pub(super) enum Validity {
    /// So many seconds after a time of the form `20260101T000000Z`.
    Span {
        /// When it begins.
        from: &'static str,
        /// How long it is.
        seconds: &'static str,
    },
    /// Until this second since 1970.
    Epoch(&'static str),
    /// Until this ISO 8601 time.
    Iso(&'static str),
    /// Until the second that a policy document names, or that stands in a parameter where there is no policy.
    Policy {
        /// The document, as JSON in URL-safe Base64.
        document: &'static str,
        /// The seconds since 1970.
        epoch: &'static str,
    },
}

impl Presigned {
    fn is_complete(&self, names: &[&str]) -> bool {
        let has = |wanted: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
        self.required.iter().all(has) && (self.either.is_empty() || self.either.iter().any(has))
    }

    fn owns(&self, name: &str) -> bool {
        [self.required, self.either, self.optional].into_iter().flatten().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// AWS Signature V4 and V2, Azure shared access signatures (service, account and user delegation), Google Cloud
/// Storage V4 and V2, CloudFront signed URLs; each as its vendor documents it.
const PRESIGNED: [Presigned; 6] = [
    Presigned {
        name: "AWS Signature V4",
        validity: Validity::Span { from: "X-Amz-Date", seconds: "X-Amz-Expires" },

        required: &[
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ],
        either: &[],
        optional: &["X-Amz-Security-Token", "X-Amz-Content-Sha256"],
    },
    Presigned {
        name: "AWS Signature V2",
        validity: Validity::Epoch("Expires"),
        required: &["AWSAccessKeyId", "Signature", "Expires"],
        either: &[],
        optional: &["x-amz-security-token"],
    },
    Presigned {
        name: "Azure shared access signature",
        validity: Validity::Iso("se"),

        required: &["sig", "sv", "se"],
        either: &[],
        optional: &[
            "st", "sp", "sr", "spr", "sip", "si", "ss", "srt", "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid",
            "scid", "sdd", "ses",
        ],
    },
    Presigned {
        name: "Google Cloud Storage V4",
        validity: Validity::Span { from: "X-Goog-Date", seconds: "X-Goog-Expires" },

        required: &[
            "X-Goog-Algorithm",
            "X-Goog-Credential",
            "X-Goog-Date",
            "X-Goog-Expires",
            "X-Goog-SignedHeaders",
            "X-Goog-Signature",
        ],
        either: &[],
        optional: &["X-Goog-Security-Token", "X-Goog-Content-Sha256"],
    },
    Presigned {
        name: "Google Cloud Storage V2",
        validity: Validity::Epoch("Expires"),
        required: &["GoogleAccessId", "Signature", "Expires"],
        either: &[],
        optional: &[],
    },
    Presigned {
        name: "CloudFront signed URL",
        validity: Validity::Policy { document: "Policy", epoch: "Expires" },
        required: &["Signature", "Key-Pair-Id"],
        either: &["Expires", "Policy"],
        optional: &["Hash-Algorithm"],
    },
];

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
