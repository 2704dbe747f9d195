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
            route: None,
            enrich: None,
        })
    }

    /// The definition that flags amount to: a preset, the user's own fields as `FIELD=EXPRESSION`, and a name if not
    /// that of the preset. Fields without a preset are a mapping of their own.
    pub fn of(preset: Option<&str>, map: &[String], name: Option<&str>) -> Result<Self> {
        let map = map.iter().map(|field| parse_field(field)).collect::<Result<Vec<_>>>()?;
        let preset = preset.unwrap_or(if map.is_empty() { "urls" } else { MAPPED });
        let name = name.map_or_else(|| preset.replace('-', "_"), str::to_owned);
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty()
            || name.len() > NAME_BYTES
            || !name.chars().all(fits)
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            bail!(
                "--source '{name}': topics and tables begin with it: lower-case letters, digits, _ and -, at most {NAME_BYTES}"
            );
        }
        let definition = Definition { name, preset: preset.to_owned(), map };
        definition.mapping()?;
        Ok(definition)
    }

    fn mapping(&self) -> Result<Mapping> {
        let preset = Some(self.preset.as_str()).filter(|preset| *preset != MAPPED);
        Mapping::new(preset, &self.map).map_err(|error| match error.field.as_str() {
            "preset" => anyhow::anyhow!("--preset: {}", error.message),
            field => anyhow::anyhow!("--map {field}: {}", error.message),
        })
    }
}

/// What a definition has in place of a preset where all of its fields are the user's.
const MAPPED: &str = "mapped";
/// The longest name of a source, in bytes.
const NAME_BYTES: usize = 64;

fn parse_field(text: &str) -> Result<(String, String)> {
    let split = text.split_once('=').map(|(name, expression)| (name.trim().to_owned(), expression.trim().to_owned()));
    split.with_context(|| format!("--map '{text}': write it as FIELD=EXPRESSION, for example attachments=files[].href"))
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
    let source = definition.source()?;
    let mapping = &source.mapping;
    let file_types = match args.file_types.as_slice() {
        [] => mapping.default_file_types(),
        types => FileTypes::only(types),
    };
    let path = args.path.as_deref().unwrap_or_else(|| mapping.default_path());
    let path = PathTemplate::parse_with(path, &mapping.path_columns()).map_err(|e| anyhow::anyhow!("--path: {e}"))?;
    Ok(Source { policy: policy(args)?, file_types, path, ..source })
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
    fn a_definition_is_named_after_its_preset_and_wrong_ones_are_told() {
        let of = |preset, map: &[&str]| Definition::of(preset, &map.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>(), None);
        assert_eq!(of(None, &[]).expect("urls"), Definition::default());
        assert_eq!(of(Some("s3-notification"), &[]).expect("s3").name, "s3_notification");
        assert_eq!(of(None, &["attachments=files[].href"]).expect("mapped").name, "mapped");
        for (preset, map, says) in [
            (Some("exact"), "", "--preset: there is no preset 'exact'"),
            (None, "attachments", "--map 'attachments': write it as FIELD=EXPRESSION"),
            (None, "attachments=files[", "--map attachments: the expression `files[` is wrong at column"),
            (Some("xact"), "claim=id", "--map claim: the preset xact is fixed"),
        ] {
            let map: &[&str] = if map.is_empty() { &[] } else { &[map] };
            let error = format!("{:#}", of(preset, map).expect_err("wrong"));
            assert!(error.contains(says), "{error}");
        }
        assert!(Definition::of(None, &[], Some("../x")).is_err());
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
