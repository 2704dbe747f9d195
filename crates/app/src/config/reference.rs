//! References in texts: `${env:NAME}` and `${file:PATH}`; `$${` stands for `${` itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The largest file that a reference may name, in bytes.
pub(crate) const MAX_SECRET_BYTES: u64 = 64 << 10;

/// What a configuration may ask for beside its file: the environment, and files by a path relative to it.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The environment's variables.
    pub variables: BTreeMap<String, String>,
    /// What relative paths start from: the directory of the configuration.
    pub directory: PathBuf,
}

/// A text with its references replaced.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) text: String,
    /// The text with `***` where something was put in; the text itself where nothing was.
    pub(crate) shown: String,
    /// The references, as written.
    pub(crate) references: Vec<String>,
    /// What they brought; it may be a secret.
    pub(crate) values: Vec<String>,
}

/// Puts in what the references name. The error says what is missing and what to do.
pub(crate) fn resolve(written: &str, around: &Surroundings) -> Result<Resolved, String> {
    let mut resolved = Resolved { text: String::new(), shown: String::new(), references: Vec::new(), values: Vec::new() };
    let mut rest = written;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            resolved.push(before, before);
            resolved.push("${", "${");
            rest = &reference[2..];
            continue;
        }
        resolved.push(before, before);
        let end = reference.find('}').ok_or("a '${' without its '}'; write '$${' for the characters themselves")?;
        let value = value_of(&reference[2..end], around)?;
        resolved.push(&value, "***");
        resolved.values.push(value);
        resolved.references.push(reference[..=end].to_owned());
        rest = &reference[end + 1..];
    }
    resolved.push(rest, rest);
    Ok(resolved)
}

impl Resolved {
    fn push(&mut self, text: &str, shown: &str) {
        self.text.push_str(text);
        self.shown.push_str(shown);
    }
}

fn value_of(reference: &str, around: &Surroundings) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", name)) if !name.is_empty() => around
            .variables
            .get(name)
            .cloned()
            .ok_or_else(|| format!("the environment variable {name} is not set; set it, or name another in ${{env:…}}")),
        Some(("file", path)) if !path.is_empty() => read(&around.directory.join(path)),
        _ => Err(format!(
            "${{{reference}}} is not a reference; write ${{env:NAME}} or ${{file:/path}}, or $${{ for the characters themselves"
        )),
    }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    let shown = path.display();
    let size =
        std::fs::metadata(path).map_err(|e| format!("the file {shown} cannot be read: {e}; create it or correct the path"))?;
    if !size.is_file() || size.len() > MAX_SECRET_BYTES {
        return Err(format!(
            "{shown} is no file of at most {} KiB; name the file that holds the value alone",
            MAX_SECRET_BYTES >> 10
        ));
    }
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("the file {shown} cannot be read: {e}; it must hold plain text"))?;
    Ok(text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings { variables: [("TOKEN".to_owned(), "s3cret".to_owned())].into(), directory: PathBuf::new() }
    }

    #[test]
    fn references_are_put_in_and_hidden() {
        for (written, text, shown) in [
            ("plain", "plain", "plain"),
            ("${env:TOKEN}", "s3cret", "***"),
            ("Bearer ${env:TOKEN}!", "Bearer s3cret!", "Bearer ***!"),
            ("$${env:TOKEN}", "${env:TOKEN}", "${env:TOKEN}"),
            ("a $ b {c}", "a $ b {c}", "a $ b {c}"),
        ] {
            let resolved = resolve(written, &around()).expect("resolves");
            assert_eq!((resolved.text.as_str(), resolved.shown.as_str()), (text, shown));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (written, says) in [
            ("${env:NONE}", "NONE is not set"),
            ("${env:", "without its '}'"),
            ("${vault:x}", "is not a reference"),
            ("${env:}", "is not a reference"),
            ("${file:/nonexistent/token}", "/nonexistent/token cannot be read"),
        ] {
            let error = resolve(written, &around()).err().expect("error");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_last_line_feed_of_a_file_is_dropped() {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("token"), "abc\r\n").expect("write");
        let around = Surroundings { variables: BTreeMap::new(), directory: directory.path().to_owned() };
        assert_eq!(resolve("${file:token}", &around).expect("resolves").text, "abc");
    }
}
