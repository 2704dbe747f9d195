//! Which source of the directory a run is about: what the flags say, else what was said before.

use anyhow::{Result, bail};

use super::args::RunArgs;
use crate::place::Place;
use crate::settings::Definition;

/// The source that is meant.
pub(super) fn definition(args: &RunArgs, place: &Place) -> Result<Definition> {
    let known = if place.state().is_dir() { place.definitions()? } else { Vec::new() };
    if args.preset.is_some() || !args.map.is_empty() {
        let asked = Definition::of(args.preset.as_deref(), &args.map, args.source.as_deref())?;
        return consistent(asked, &known);
    }
    match (&args.source, known.as_slice()) {
        (Some(name), known) => match known.iter().find(|one| one.name == *name) {
            Some(one) => Ok(one.clone()),
            None => Definition::of(None, &[], Some(name)),
        },
        (None, []) => Ok(Definition::default()),
        (None, [only]) => Ok(only.clone()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
            bail!("{} has several sources: name one with --source ({})", place.root.display(), names.join(", "))
        }
    }
}

/// A source keeps the way in which its ids are made.
fn consistent(asked: Definition, known: &[Definition]) -> Result<Definition> {
    if let Some(other) = known.iter().find(|one| one.name == asked.name && one.preset != asked.preset) {
        bail!("the source {} is of the preset {} in this directory: name another with --source", other.name, other.preset);
    }
    Ok(asked)
}
