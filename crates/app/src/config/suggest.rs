//! "Did you mean": the word nearest to one that is not known.

/// The nearest of the known words, if it is near enough to be meant: at most a third of its letters differ, or only
/// capitals, `-` and `_` do.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(word);
    let near = known.into_iter().map(|candidate| (distance(&plain, &self::plain(candidate)), candidate));
    let (far, candidate) = near.min_by_key(|(far, _)| *far)?;
    (far <= candidate.chars().count().div_ceil(3)).then_some(candidate)
}

fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).take(80).collect()
}

/// How many letters are to be added, removed, changed or swapped with their neighbour (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let changed = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["max_size", "max_redirects", "allow_hosts", "allow_http", "retry"];
        for (word, meant) in [
            ("max_sze", Some("max_size")),
            ("maxSize", Some("max_size")),
            ("allow-hosts", Some("allow_hosts")),
            ("allow_host", Some("allow_hosts")),
            ("rerty", Some("retry")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
