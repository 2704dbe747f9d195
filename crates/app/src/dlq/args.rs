//! What the user types after `longshore dlq`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cli::{PlaceArgs, PolicyArgs};
use crate::settings::parse_duration;

/// `longshore dlq`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore dlq ls --to ./lake --newer 1h\n  longshore dlq show 17 --to ./lake\n  \
                        longshore dlq replay --to ./lake --host files.example.com --dry-run")]
pub struct DlqArgs {
    /// What to do with the dead letters.
    #[command(subcommand)]
    pub command: DlqCommand,
}

/// The commands of `longshore dlq`.
#[derive(Debug, Clone, Subcommand)]
pub enum DlqCommand {
    /// List dead letters
    Ls(LsArgs),
    /// Show dead letters whole, with the original bytes of poison
    #[command(after_help = "Example:\n  longshore dlq show 17 --to ./lake")]
    Show {
        /// Offsets in the dead-letter topic, or media ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// The directory.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Try failed attachments and events once more, each in its next life
    Replay(Box<ReplayArgs>),
}

/// `longshore dlq ls`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore dlq ls --to ./lake --class permanent --host '*.example.com'\n  \
                        longshore dlq ls --to ./lake --by reason")]
pub struct LsArgs {
    /// The directory.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which of them.
    #[command(flatten)]
    pub filter: LetterArgs,
    /// Print how many there are of each host, class or reason
    #[arg(long, value_name = "WHAT")]
    pub by: Option<By>,
    /// The most to show; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// What dead letters are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The URL's host.
    Host,
    /// The outcome class.
    Class,
    /// The reason.
    Reason,
}

/// `longshore dlq replay`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore dlq replay --to ./lake --class transient && longshore fetch --to ./lake\n  \
                        longshore dlq replay 17 --to ./lake\n  longshore dlq replay -c longshore.yaml --all --rate 100/s\n\n\
                        Of an attachment only the latest life is replayed; what is stored meanwhile, or replayed before and still\n\
                        under way, is not. What fails again meanwhile needs the next command. With --to, the policy flags\n\
                        must be those of the fetch that follows.\n\n\
                        Exit codes: 0 done; 1 failed; 2 wrong usage; 3 some were not replayed and will not be.")]
pub struct ReplayArgs {
    /// Offsets in the dead-letter topic, or media ids; an offset is replayed even if it is not the latest life
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// The directory or service.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which of them.
    #[command(flatten)]
    pub filter: LetterArgs,
    /// Replay all of them: needed where no ID and no filter is given
    #[arg(long)]
    pub all: bool,
    /// Count what would be replayed, and replay nothing
    #[arg(long)]
    pub dry_run: bool,
    /// At most this many a second, for example 100/s
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    pub rate: Option<u32>,
    /// Policy flags, for what was rejected.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LetterArgs {
    /// Only of this host; `*.example.com` stands for its subdomains
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only of this outcome class: transient, permanent, rejected or poison
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// Only of this reason, for example http_status (`longshore dlq ls --by reason` shows them)
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those that failed at least this long ago, for example 1h
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub older: Option<Duration>,
    /// Only those that failed at most this long ago
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub newer: Option<Duration>,
}

fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text.trim().strip_suffix("/s").unwrap_or(text).trim().parse().ok().filter(|rate| *rate > 0);
    number.ok_or_else(|| format!("'{text}' is not a rate; write for example 100/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert_eq!((parse_rate("100/s"), parse_rate("7")), (Ok(100), Ok(7)));
        for wrong in ["0/s", "0", "fast", "-1/s", "10/m", ""] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
