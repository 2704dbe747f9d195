//! Figures as people read them: what unit a metric has, and how its values are written.
//!
//! *Owns*: the reading of a metric's name, medians, the spelling of numbers. *Does not own*: what a figure means.

/// What a metric counts, by its name: names end in their unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Messages, files or rows a second (`…_per_s`).
    PerSecond,
    /// Seconds (`…_s`).
    Seconds,
    /// Bytes (`…_bytes`), shown in MB of 1,000,000.
    Bytes,
    /// Shares of one core (`cpu…`), shown in per cent: 100 % is one core busy.
    Cores,
    /// Shares of something else (`…_share`, `…_spread`, `…_growth`, `efficiency`, `machine_busy`), shown in per cent.
    Share,
    /// Anything else is a count.
    Count,
}

const MB: f64 = 1e6;

impl Unit {
    /// The unit of a metric.
    pub fn of(metric: &str) -> Self {
        let metric = split_workers(metric).0;
        let ends = |with: &str| metric.ends_with(with);
        if ends("_per_s") {
            Self::PerSecond
        } else if metric.starts_with("cpu") && !ends("_s") {
            Self::Cores
        } else if ends("_s") {
            Self::Seconds
        } else if ends("_bytes") {
            Self::Bytes
        } else if ["_share", "_spread", "_growth"].iter().any(|with| ends(with))
            || ["efficiency", "machine_busy"].contains(&metric)
        {
            Self::Share
        } else {
            Self::Count
        }
    }

    /// What a shown number is followed by, such as `MB`; empty for counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Seconds => "s",
            Self::Bytes => "MB",
            Self::Cores | Self::Share => "%",
            Self::Count => "",
        }
    }

    /// A value in the unit that is shown: bytes in MB, shares in per cent.
    pub fn scaled(self, value: f64) -> f64 {
        match self {
            Self::Bytes => value / MB,
            Self::Cores | Self::Share => value * 100.0,
            _ => value,
        }
    }

    /// A value without its unit.
    pub fn number(self, value: f64) -> String {
        let scaled = self.scaled(value);
        match self {
            Self::Cores | Self::Share => number((scaled * 10.0).round() / 10.0),
            _ => number(scaled),
        }
    }

    /// A value with its unit, such as `1,250/s` or `0.34 s`.
    pub fn show(self, value: f64) -> String {
        let number = self.number(value);
        match self.name() {
            "" => number,
            "/s" => format!("{number}/s"),
            name => format!("{number} {name}"),
        }
    }
}

/// A metric's name without the number of workers that it ends with, and that number: `efficiency_w12` is `efficiency` and 12.
pub fn split_workers(metric: &str) -> (&str, Option<u32>) {
    let parted = metric.rsplit_once("_w").and_then(|(name, workers)| Some((name, workers.parse().ok()?)));
    parted.map_or((metric, None), |(name, workers)| (name, Some(workers)))
}

/// A number with three digits or more where it has them, thousands apart: `0.0123`, `4.27`, `98.3`, `1,250`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if size >= 99.95 || size == value.trunc().abs() {
        return grouped(value);
    }
    let digits = if size >= 9.995 { 1 } else { decimals(size) };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Digits after the point that show three of a number below ten; at most six.
fn decimals(size: f64) -> usize {
    let zeros = if size < 1.0 { size.log10().abs().ceil() } else { 0.0 };
    (2 + zeros as usize).min(6)
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("−{text}") } else { text }
}

/// A change in per cent with its sign, such as `+12.5 %` or `−3 %`.
pub fn percent(value: f64) -> String {
    let text = if value.abs() >= 99.95 { grouped(value) } else { format!("{:.1}", value).replace('-', "−") };
    let text = text.strip_suffix(".0").unwrap_or(&text);
    match text {
        "−0" | "0" => "0 %".to_owned(),
        _ if value > 0.0 => format!("+{text} %"),
        _ => format!("{text} %"),
    }
}

/// The median; the mean of the middle two where there is no middle one. None of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values[below] + values[above]) / 2.0)
}

/// The mean; none of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.into_iter().fold((0_u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// A command as it is typed: the program by its name alone, wherever it lies, and in quotes what a shell would part or expand.
pub fn command_line(words: &[String]) -> String {
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:,=@+%".contains(c));
    let quoted = |word: &str| if plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    let program = words.first().map(|word| word.rsplit('/').next().unwrap_or_default());
    program.into_iter().chain(words.iter().skip(1).map(String::as_str)).map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_units() {
        for (metric, unit) in [
            ("throughput_per_s", Unit::PerSecond),
            ("latency_p95_s", Unit::Seconds),
            ("rss_peak_bytes", Unit::Bytes),
            ("cpu_mean", Unit::Cores),
            ("cpu_s", Unit::Seconds),
            ("efficiency_w12", Unit::Share),
            ("throughput_per_s_w3", Unit::PerSecond),
            ("machine_busy", Unit::Share),
            ("latency_p95_growth", Unit::Share),
            ("downloads_at_once", Unit::Count),
        ] {
            assert_eq!(Unit::of(metric), unit, "{metric}");
        }
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (value, text) in [
            (0.0, "0"),
            (5.0, "5"),
            (0.01234, "0.0123"),
            (0.2, "0.2"),
            (4.2719, "4.27"),
            (98.34, "98.3"),
            (123.4, "123"),
            (1_250.4, "1,250"),
            (1_234_567.0, "1,234,567"),
            (-1_250.0, "−1,250"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
        assert_eq!(Unit::Bytes.show(512.0 * MB), "512 MB");
        assert_eq!(Unit::Cores.show(0.8), "80 %");
        for (value, text) in [(12.54, "+12.5 %"), (-3.0, "−3 %"), (0.0, "0 %"), (-0.01, "0 %"), (1_250.0, "+1,250 %")] {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let words =
            ["/opt/x/longshore", "bench", "run", "--out", "my dir", "--brokers", "a:1,b:2", "it's", ""].map(str::to_owned);
        assert_eq!(command_line(&words), r"longshore bench run --out 'my dir' --brokers a:1,b:2 'it'\''s' ''");
        assert_eq!(command_line(&[]), "");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(vec![]), None);
    }
}
