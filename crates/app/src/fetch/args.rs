//! What the user types after `longshore fetch` beside input, target, policy and limits.

use clap::Args;
use longshore_core::source::PRESETS;

/// How events are read, what is tried again, and when to give up.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// How the events of the input are read [default: as before in this directory, else urls]
    #[arg(long, value_name = "PRESET", value_parser = PRESETS.to_vec())]
    pub preset: Option<String>,
    /// A field and the JMESPath expression that finds it in an event (repeatable): attachments, event_id, event_time,
    /// trace_id, event_type, or a further column
    #[arg(long, value_name = "FIELD=JMESPATH")]
    pub map: Vec<String>,
    /// The source's name, with which its tables begin [default: the preset's; `mapped` with --map alone]
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Try what failed in this directory once more, or what failed with this class: transient, permanent, rejected, poison
    #[arg(long, value_name = "CLASS", num_args = 0..=1, require_equals = true)]
    pub retry_failed: Option<Option<String>>,
    /// Stop as soon as more attachments have failed than this number, or than this share of those finished (from 100
    /// finished on, and at the end)
    #[arg(long, value_name = "N|P%", value_parser = parse_max_failed)]
    pub max_failed: Option<MaxFailed>,
    /// Show what would be fetched, by host, without network and without writing anything
    #[arg(long, conflicts_with_all = ["retry_failed", "max_failed"])]
    pub dry_run: bool,
    /// Read at most this many events of the input in a dry run [default: all]
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// How many attachments may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailed {
    /// This many.
    Count(u64),
    /// This share of those finished, in percent.
    Percent(f64),
}

/// A share is looked at once this many attachments are finished: before, a few bad ones at the beginning would decide.
const ENOUGH: u64 = 100;

impl MaxFailed {
    /// Whether these are too many while the run goes on.
    pub(super) fn exceeded(self, failed: u64, finished: u64) -> bool {
        matches!(self, MaxFailed::Count(_)) && self.exceeded_at_end(failed, finished)
            || finished >= ENOUGH && self.exceeded_at_end(failed, finished)
    }

    /// Whether these are too many at the end of it.
    pub(super) fn exceeded_at_end(self, failed: u64, finished: u64) -> bool {
        match self {
            MaxFailed::Count(most) => failed > most,
            MaxFailed::Percent(most) => failed as f64 * 100.0 > most * finished as f64,
        }
    }
}

impl std::fmt::Display for MaxFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MaxFailed::Count(most) => write!(f, "{most}"),
            MaxFailed::Percent(most) => write!(f, "{most}%"),
        }
    }
}

fn parse_max_failed(text: &str) -> Result<MaxFailed, String> {
    let parsed = match text.strip_suffix('%') {
        Some(share) => share.trim().parse().ok().filter(|share| (0.0..=100.0).contains(share)).map(MaxFailed::Percent),
        None => text.parse().ok().map(MaxFailed::Count),
    };
    parsed.ok_or_else(|| format!("'{text}' is neither a number nor a share up to 100 %; write for example 50 or 1%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_share_may_fail() {
        assert_eq!(parse_max_failed("50"), Ok(MaxFailed::Count(50)));
        assert_eq!(parse_max_failed("0.5%"), Ok(MaxFailed::Percent(0.5)));
        for wrong in ["", "%", "-1", "101%", "1e", "NaN%", "1.5"] {
            assert!(parse_max_failed(wrong).is_err(), "{wrong}");
        }
        let (five, one_percent) = (MaxFailed::Count(5), MaxFailed::Percent(1.0));
        assert!(!five.exceeded(5, 5) && five.exceeded(6, 6));
        assert!(!one_percent.exceeded(50, 99) && one_percent.exceeded(2, 100) && !one_percent.exceeded(1, 100));
        assert!(one_percent.exceeded_at_end(1, 2) && !one_percent.exceeded_at_end(0, 0));
    }
}
