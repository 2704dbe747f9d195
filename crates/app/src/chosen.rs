//! Which sources a command asks that contacts nobody: those of a configuration, or one made of flags.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use longshore_core::policy::HostPattern;
use longshore_core::secret::Secret;

use crate::cli::PolicyArgs;
use crate::config::{self, Purpose};
use crate::exit;
use crate::place::Lane;
use crate::settings::{self, Definition};

/// A configured source, or the policy of the flags.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Take the sources of this configuration instead of the flags
    #[arg(long, short, value_name = "FILE", conflicts_with = "PolicyArgs")]
    pub config: Option<PathBuf>,
    /// The source, where the configuration has several
    #[arg(long, value_name = "NAME", requires = "config")]
    pub source: Option<String>,
    /// Policy flags.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// A source, and the headers that certain hosts get.
pub(crate) struct Chosen {
    pub(crate) lane: Lane,
    pub(crate) credentials: Vec<(HostPattern, Vec<(String, Secret)>)>,
}

impl SourceArgs {
    /// The source that was asked for, first, and those that read the same topic; of flags it is this definition's.
    pub(crate) fn choose(&self, definition: &Definition) -> Result<Vec<Chosen>> {
        let Some(file) = &self.config else {
            let source = settings::source(definition, &self.policy).context(exit::Usage)?;
            return Ok(vec![Chosen { lane: Lane::of(source), credentials: Vec::new() }]);
        };
        let plan = config::load(file, Purpose::Look).context(exit::Configuration)?.plan;
        let setups = plan.setups.into_iter().map(|setup| setup.origin.credentials);
        let all = plan.place.lanes.into_iter().zip(setups).map(|(lane, credentials)| Chosen { lane, credentials });
        let all: Vec<Chosen> = all.collect();
        let topic = match &self.source {
            Some(name) => all.iter().find(|one| one.lane.name() == name).map(|one| one.lane.topics.raw()),
            None => one_topic(&all),
        };
        let Some(topic) = topic else {
            let names: Vec<&str> = all.iter().map(|one| one.lane.name()).collect();
            let has = format!("{} has {}", file.display(), names.join(", "));
            let wrong = match &self.source {
                Some(name) => anyhow::anyhow!("--source {name}: there is no such source; {has}"),
                None => anyhow::anyhow!("there are several sources: name one with --source; {has}"),
            };
            return Err(wrong.context(exit::Usage));
        };
        let mut chosen: Vec<Chosen> = all.into_iter().filter(|one| one.lane.topics.raw() == topic).collect();
        chosen.sort_by_key(|one| self.source.as_ref().is_some_and(|name| name != one.lane.name()));
        Ok(chosen)
    }

    /// The only source that is meant.
    pub(crate) fn only(&self, definition: &Definition) -> Result<Chosen> {
        let mut chosen = self.choose(definition)?;
        if self.source.is_none() && chosen.len() > 1 {
            let names: Vec<&str> = chosen.iter().map(|one| one.lane.name()).collect();
            let names = names.join(", ");
            return Err(
                anyhow::anyhow!("there are several sources: name one with --source; they are {names}").context(exit::Usage)
            );
        }
        match chosen.is_empty() {
            true => bail!("the configuration has no source"),
            false => Ok(chosen.swap_remove(0)),
        }
    }
}

/// The topic that all sources read, if it is one.
fn one_topic(all: &[Chosen]) -> Option<String> {
    let first = all.first()?.lane.topics.raw();
    all.iter().all(|one| one.lane.topics.raw() == first).then_some(first)
}
