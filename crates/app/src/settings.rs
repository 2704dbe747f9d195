//! From what the user typed to what the program uses: parsed and checked once, here.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use longshore_core::file_type::FileTypes;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::source::{Identity, Mapping, Source};
use longshore_stages::topics;
use serde::{Deserialize, Serialize};

use crate::cli::PolicyArgs;

/// How a batch directory's source is defined: what its events are, and nothing of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The source's name.
    pub name: String,
    /// The preset that reads its events.
    pub preset: String,
    /// Fields and the JMESPath expressions that find them.
    #[serde(default)]
    pub map: Vec<(String, String)>,
}

impl Default for Definition {
    fn default() -> Self {
        Definition { name: "urls".to_owned(), preset: "urls".to_owned(), map: Vec::new() }
    }
}

impl Definition {
    /// The source, with a policy that allows nothing in particular: for looking at what is there.
    pub fn source(&self) -> Result<Source> {
        Ok(Source {
            name: self.name.clone(),
            mapping: self.mapping()?,
            identity: Identity::default(),
            policy: Policy::default(),
            file_types: FileTypes::any(),
            path: PathTemplate::parse("{media_id}").map_err(anyhow::Error::msg)?,
        })
    }

    fn mapping(&self) -> Result<Mapping> {
        match self.preset.as_str() {
            "urls" => Ok(Mapping::Urls),
            "xact" => Ok(Mapping::Xact),
            other => bail!("there is no preset '{other}'"),
        }
    }
}

/// Reads a duration: `200ms`, `5s`, `10m`, `1h`, `2d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    topics::parse_delay(text).ok_or_else(|| format!("'{text}' is not a time; write for example 500ms, 5s, 10m or 1h"))
}

/// Reads a size in bytes: `1000`, `64KB`, `64KiB`, `2GiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size; write for example 500KB, 20MiB or 2GB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Reads `--retry`: delays in rising order, or `none`.
pub fn parse_ladder(text: &str) -> Result<Vec<Duration>> {
    if text.trim() == "none" {
        return Ok(Vec::new());
    }
    let delays: Vec<Duration> =
        text.split(',').map(|part| parse_duration(part).map_err(anyhow::Error::msg)).collect::<Result<_>>().context("--retry")?;
    if delays.windows(2).any(|pair| pair[0] >= pair[1]) {
        bail!("--retry {text}: each delay must be longer than the one before it");
    }
    Ok(delays)
}

/// Reads `--header`.
pub fn parse_header(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once(':').with_context(|| format!("--header '{text}': write it as 'Name: value'"))?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        bail!("--header: '{name}' is not a header name");
    }
    let value = value.trim();
    if value.chars().any(char::is_control) {
        bail!("--header {name}: the value holds a control character");
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The batch source under the policy of the flags.
pub fn source(definition: &Definition, args: &PolicyArgs) -> Result<Source> {
    let file_types = if args.file_types.is_empty() { FileTypes::any() } else { FileTypes::only(&args.file_types) };
    let path = PathTemplate::parse(&args.path).map_err(|e| anyhow::anyhow!("--path: {e}"))?;
    Ok(Source { policy: policy(args)?, file_types, path, ..definition.source()? })
}

fn policy(args: &PolicyArgs) -> Result<Policy> {
    let hosts = args.allow_host.iter().map(|host| host.parse().map_err(|e| anyhow::anyhow!("--allow-host {host}: {e}")));
    let hosts: Vec<_> = hosts.collect::<Result<_>>()?;
    let networks = args.allow_private.iter().map(|network| parse_network(network));
    Ok(Policy {
        allow_hosts: (!hosts.is_empty()).then_some(hosts),
        allow_http: args.allow_http,
        allow_private: networks.collect::<Result<_>>()?,
        max_size: args.max_size,
        ..Policy::default()
    })
}

fn parse_network(text: &str) -> Result<ipnet::IpNet> {
    let single = || text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    text.parse()
        .or_else(|_| single())
        .map_err(|_| anyhow::anyhow!("--allow-private {text}: not a network; write for example 10.0.0.0/8 or 127.0.0.1/32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_not() {
        for (text, bytes) in [("1000", 1_000), ("64KB", 64_000), ("64 KiB", 65_536), ("2GiB", 2 << 30), ("0", 0)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "MB", "-1", "1.5GB", "5 parsecs", "99999999999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ladder_rises() {
        assert_eq!(parse_ladder("1s,5s").expect("ladder").len(), 2);
        assert!(parse_ladder("none").expect("ladder").is_empty());
        for wrong in ["5s,1s", "1s,1s", "soon", ""] {
            assert!(parse_ladder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_cannot_smuggle() {
        assert_eq!(parse_header("X-Key:  v ").expect("header"), ("X-Key".into(), "v".into()));
        for wrong in ["no colon", ": v", "a b: c", "X: a\r\nY: b"] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }
}
