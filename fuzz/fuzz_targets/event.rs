//! Any bytes as an event of every preset: planning never panics, and what it accepts is fit for the stages.

#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use longshore_core::file_type::FileTypes;
use longshore_core::path::{PathTemplate, is_sanitised};
use longshore_core::policy::Policy;
use longshore_core::source::{Identity, Mapping, RawEvent, Source};

static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mappings = [Mapping::Urls, Mapping::Xact];
    let source = |mapping: Mapping| Source {
        name: "fuzz".to_owned(),
        mapping,
        identity: Identity::Unsigned,
        policy: Policy { allow_http: true, ..Policy::default() },
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{host}/{path}").expect("a template"),
    };
    mappings.into_iter().map(source).collect()
});

fuzz_target!(|bytes: &[u8]| {
    for source in SOURCES.iter() {
        let raw =
            RawEvent { bytes, headers: &[], url_field: None, truncated: None, ingested_at: 1_795_463_132_000_000 };
        let Ok(event) = source.plan(&raw) else { continue };
        assert_eq!(source.plan(&raw).as_ref(), Ok(&event), "two plans of one event differ");
        let ids: HashSet<_> = event.attachments.iter().map(|a| a.task.media_id).collect();
        assert_eq!(ids.len(), event.attachments.len(), "an attachment stands twice");
        for attachment in &event.attachments {
            let refused = attachment.refused.is_some();
            assert_eq!(refused, attachment.task.path.is_empty(), "refused, or with a path");
            assert!(refused || is_sanitised(&attachment.task.path));
        }
        source.shape().event_row(&source.mapping_version(), &event, bytes, raw.ingested_at, raw.ingested_at);
    }
});
