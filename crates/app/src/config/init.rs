//! The file that `config init` writes: what must be chosen stands there, everything else as a comment with its default.
//!
//! `#key: value` is a key with its default, to be uncommented as it is; `# for example: …` is an example.

use super::keys::{Fallback, Key, Kind, keys_in};

/// The width of comments.
const WIDTH: usize = 110;

/// The text of a first configuration for a source with this preset.
pub(crate) fn file(preset: &str) -> String {
    let mut text = String::from(
        "# The configuration of `longshore run`. 'longshore config check' says what is wrong with it, 'config show' what\n\
         # it amounts to; all keys are explained in docs/configuration.md.\n\
         # Lines like '#key: value' show defaults. Secrets are written ${env:NAME} or ${file:/path}. Relative paths start\n\
         # from this file's directory. Each key can be set by an environment variable too, as in\n\
         # LONGSHORE_RECORD__FRESHNESS=1s or LONGSHORE_SOURCES__NAME__MAX_SIZE=2GiB.\n",
    );
    for key in keys_in("") {
        text.push('\n');
        entry(key, 0, preset, &mut text);
    }
    text
}

fn entry(key: &Key, indent: usize, preset: &str, text: &mut String) {
    let pad = " ".repeat(indent);
    comment(key.doc, &pad, text);
    let name = key.name();
    let needed = match key.path {
        "sources[].name" | "sources[].preset" => Some(preset.to_owned()),
        "sources[].allow_hosts" => Some("[files.example.com]  # put yours here".to_owned()),
        _ => None,
    };
    match (key.kind, key.default, needed) {
        (Kind::Section, ..) => {
            text.push_str(&format!("{pad}{name}:\n"));
            keys_in(&key.inside()).for_each(|key| entry(key, indent + 2, preset, text));
        }
        (Kind::Entries, Fallback::Required, _) => {
            text.push_str(&format!("{pad}{name}:\n"));
            let mut first = String::new();
            keys_in(&key.inside()).for_each(|key| {
                entry(key, indent + 4, preset, &mut first);
                first.push('\n');
            });
            text.push_str(&begin_entry(first.trim_end(), indent + 2));
        }
        (Kind::Feature | Kind::Entries, ..) => {
            text.push_str(&format!("{pad}# for example:\n{pad}# {name}:\n"));
            examples(&key.inside(), &format!("{pad}#   "), key.kind == Kind::Entries, text);
        }
        (_, _, Some(value)) => text.push_str(&format!("{pad}{name}: {value}\n")),
        (_, Fallback::Is(value), _) => text.push_str(&format!("{pad}#{name}: {value}\n")),
        (_, Fallback::Depends(words), _) => {
            comment(&format!("Default: {words}."), &pad, text);
            text.push_str(&format!("{pad}# for example: {name}: {}\n", key.example));
        }
        _ => text.push_str(&format!("{pad}# for example: {name}: {}\n", key.example)),
    }
}

/// Puts the dash before the first key of an entry; comments may stand above it.
fn begin_entry(lines: &str, dash: usize) -> String {
    let mut begun = false;
    let mut text = String::new();
    for line in lines.lines() {
        let key = !begun && !line.is_empty() && !line.trim_start().starts_with('#');
        begun |= key;
        let line = if key { format!("{}- {}", " ".repeat(dash), line.trim_start()) } else { line.to_owned() };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The keys of a feature, each with an example or its default.
fn examples(section: &str, pad: &str, dashed: bool, text: &mut String) {
    let keys = keys_in(section).filter_map(|key| {
        let value = match (key.example, key.default) {
            ("", Fallback::Is(value)) => value,
            (example, _) if !example.is_empty() => example,
            _ => return None,
        };
        Some(format!("{}: {value}", key.name()))
    });
    for (n, line) in keys.enumerate() {
        let lead = match (dashed, n) {
            (true, 0) => "- ",
            (true, _) => "  ",
            (false, _) => "",
        };
        text.push_str(&format!("{pad}{lead}{line}\n"));
    }
}

/// A comment, broken into lines.
fn comment(words: &str, pad: &str, text: &mut String) {
    let mut line = format!("{pad}#");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{pad}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
