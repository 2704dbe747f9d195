//! Text from outside in Markdown and HTML: names, messages, paths and hosts are never markup.

/// As it is shown in Markdown: what would be markup or a new line is spelled.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        // An underscore inside a word, as in a metric's name, is none of emphasis.
        let inside = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            // No tag begins with a space: `< 5 s` stays as it is.
            '<' if rest.peek() == Some(&' ') => escaped.push(c),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '_' if inside => escaped.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// The same for our own sentences, which hold names between backticks.
pub(super) fn sentence(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return markdown(text);
    }
    pieces.iter().enumerate().map(|(at, piece)| if at % 2 == 1 { code(piece) } else { markdown(piece) }).collect()
}

/// A name in Markdown, as code; also in a table.
pub(super) fn code(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect();
    let plain = plain.trim().replace('|', "\\|");
    if plain.is_empty() { "–".to_owned() } else { format!("`{plain}`") }
}

/// A line of a fenced block in Markdown.
pub(super) fn block(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace("```", "'''")
}

/// As it is shown in HTML, in text and in attributes.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The same for our own sentences, which hold names between backticks.
pub(super) fn html_sentence(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return html(text);
    }
    let piece = |(at, piece): (usize, &&str)| if at % 2 == 1 { format!("<code>{}</code>", html(piece)) } else { html(piece) };
    pieces.iter().enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let hostile = "<script>a|b`c`\n# [x](y) & \"q\" 'p'";
        assert_eq!(html(hostile), "&lt;script&gt;a|b`c` # [x](y) &amp; &quot;q&quot; &#39;p&#39;");
        assert_eq!(markdown(hostile), "&lt;script&gt;a\\|b\\`c\\` \\# \\[x\\](y) &amp; \"q\" 'p'");
        assert_eq!(markdown("< 5 s <b>"), "< 5 s &lt;b&gt;");
        assert_eq!(markdown("_a_b_ c_"), "\\_a_b\\_ c\\_");
        assert_eq!(code("a`|\n<b>"), "`a \\| <b>`");
        assert_eq!(block("``` \u{1b}[2J"), "'''  [2J");
    }

    #[test]
    fn names_in_sentences_are_code() {
        assert_eq!(sentence("see `a_b` and c_d"), "see `a_b` and c_d");
        assert_eq!(html_sentence("see `a<b` & c"), "see <code>a&lt;b</code> &amp; c");
        assert_eq!(sentence("an odd ` one"), "an odd \\` one");
    }
}
