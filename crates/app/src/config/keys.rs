//! The keys of a configuration: one table, from which everything else about keys follows: what is refused, the types,
//! the defaults, the JSON Schema, the file of `config init`, the reference in `docs/configuration.md`, and the names of
//! environment variables.
//!
//! A path is the keys from the top, with dots between; `sources[].name` is the key `name` in each entry of `sources`.

/// One key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Where it stands.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when it is not written.
    pub default: Fallback,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// What one may write there, as YAML on one line; empty where the default says it.
    pub example: &'static str,
    /// What to do instead of writing an empty list; nothing where that means something.
    pub if_empty: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A text.
    Text,
    /// A text that nobody may see.
    Secret,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number within these bounds.
    Integer(u64, u64),
    /// A time like `300ms` or `5m`, within these bounds in milliseconds.
    Time(u64, u64),
    /// A size like `64KiB` or `2GiB`, within these bounds in bytes.
    Size(u64, u64),
    /// A list of texts.
    Texts,
    /// A text, or a list of texts.
    TextOrTexts,
    /// A list of whole numbers within these bounds.
    Integers(u64, u64),
    /// A list of times within these bounds in milliseconds.
    Times(u64, u64),
    /// Texts under names of the user's own.
    Map(Values),
    /// Keys of its own; absent and empty are the same.
    Section,
    /// Keys of its own; it does something only where it stands.
    Feature,
    /// A list of entries with keys of their own.
    Entries,
}

/// What stands under a user's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Expressions, templates and the like.
    Plain,
    /// Settings or headers: those whose names sound like a secret are one.
    SecretByName,
    /// Nobody may see any of them.
    Secret,
}

/// What a key is when it is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This, as YAML.
    Is(&'static str),
    /// Nothing at all.
    Absent,
    /// What these words say.
    Depends(&'static str),
    /// It must be written.
    Required,
}

use Fallback::{Absent, Depends, Is, Required};
use Kind::{
    Choice, Entries, Feature, Flag, Integer, Integers, Map, Secret, Section, Size, Text, TextOrTexts, Texts, Time, Times,
};

/// The presets.
pub(crate) const PRESETS: &[&str] = &longshore_core::source::PRESETS;
const METHODS: &[&str] = &["GET", "POST"];
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn key(path: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Key {
    Key { path, kind, default, doc, example: "", if_empty: "" }
}

impl Key {
    const fn eg(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn filled(mut self, if_empty: &'static str) -> Self {
        self.if_empty = if_empty;
        self
    }
}

/// All keys, each section before what is in it.
pub const KEYS: &[Key] = &[
    key("log", Text, Is("sqlite:./lake/.longshore/log.db"), "The log between the stages: `sqlite:` with the path of a file named `log.db`, or `kafka://` with the brokers.").eg("kafka://broker-1:9092,broker-2:9092"),
    key("kafka", Feature, Absent, "For a log on Apache Kafka."),
    key("kafka.group_prefix", Text, Is("longshore"), "What the names of consumer groups begin with."),
    key("kafka.group_protocol", Choice(&["classic", "consumer"]), Is("classic"), "How the processes of a group share partitions: by agreement among them (every broker), or by the broker (Apache Kafka 4.0 and newer)."),
    key("kafka.instance_id", Text, Absent, "A name that this process alone has and keeps when it starts again: a restart within the session's timeout then moves no partition.").eg("worker-1"),
    key("kafka.properties", Map(Values::SecretByName), Absent, "Settings for librdkafka.")
        .eg("{security.protocol: SASL_SSL, sasl.password: '${env:KAFKA_PASSWORD}'}"),
    key("store", Text, Is("./lake/files"), "The directory that the files go to."),
    key("tables", Text, Is("./lake/tables"), "The directory of the inventory's tables."),
    key("store_sync", Choice(&["on", "off"]), Is("on"), "Whether files and tables are synced to disk; `off` is for data that may be lost in a power cut."),
    key("shutdown_grace", Time(0, HOUR), Is("25s"), "How long downloads under way may go on once the service is told to stop."),
    key("sources", Entries, Required, "The kinds of events, each with its own topics, policy and tables.")
        .filled("add a source, for example '- {name: xact, preset: xact, allow_hosts: [files.example.com]}'"),
    key("sources[].name", Text, Required, "The source's name: small letters, digits, `-` and `_`, a letter first, at most 40. Topics and tables begin with it.").eg("xact"),
    key("sources[].preset", Choice(PRESETS), Depends("none: `map` says how events are read"), "How events are read.").eg("xact"),
    key("sources[].topic", Text, Depends("`{name}.events.raw`"), "The topic that events arrive in; several sources may share one.").eg("xact.events.raw"),
    key("sources[].map", Map(Values::Plain), Depends("the preset's"), "Where the fields of an event are, as JMESPath: `trace_id`, `event_id`, `event_type`, `event_time`, `attachments`; for `s3-notification` a template `url`.")
        .eg("{trace_id: id, event_time: created, attachments: 'files[].{url: href, file_name: title}'}"),
    key("sources[].columns", Map(Values::Plain), Absent, "Further columns of the tables, as JMESPath.").eg("{claim_number: claim.number}"),
    key("sources[].when", Feature, Absent, "Which events of a shared topic belong to this source; one source of the topic may go without and takes the rest."),
    key("sources[].when.header", Text, Absent, "The message header that decides.").eg("type"),
    key("sources[].when.field", Text, Absent, "The field of the event that decides, as JMESPath.").eg("type"),
    key("sources[].when.equals", TextOrTexts, Required, "The value, or values, that are meant.").eg("[claim, estimate]").filled("name the values that are meant"),
    key("sources[].identity", Choice(&["unsigned", "exact"]), Is("unsigned"), "What of a URL names the attachment: all but a complete signature, or all of it."),
    key("sources[].allow_hosts", Texts, Absent, "The hosts that may be asked; `*.example.com` stands for its subdomains. `run` needs the list.")
        .eg("['*.amazonaws.com', files.example.com]")
        .filled("nothing could be fetched; name the hosts that events may point to"),
    key("sources[].allow_ports", Integers(1, 65_535), Depends("any"), "The ports that may be dialled.").eg("[443]").filled("nothing could be fetched; remove it to allow any port"),
    key("sources[].allow_private", Texts, Is("[]"), "Networks that may be dialled although their addresses are private.").eg("[10.1.0.0/16]"),
    key("sources[].allow_http", Flag, Is("false"), "Whether `http` is allowed besides `https`."),
    key("sources[].max_redirects", Integer(0, 20), Is("5"), "How many redirects are followed."),
    key("sources[].cross_host_redirects", Flag, Is("true"), "Whether a redirect may lead to another host; each hop passes the policy in any case."),
    key("sources[].file_types", Texts, Depends("the preset's"), "The types of files that may be stored, by extension; `[any]` for all.").eg("[pdf, xml, jpg]").filled("nothing could be stored; write [any] for all types"),
    key("sources[].on_type_mismatch", Choice(&["reject", "warn"]), Is("reject"), "What is done with a file whose content is not of its type."),
    key("sources[].max_size", Size(1, 5 * TIB), Depends("no limit"), "The largest file.").eg("2GiB"),
    key("sources[].path", Text, Depends("the preset's"), "Where a file goes below the store: text with `{host}`, `{path}`, `{name}`, `{filename}`, `{ext}`, `{media_id}`, `{trace_id}`, `{event_date}` and columns.")
        .eg("'{event_date}/{host}/{path}'"),
    key("sources[].headers", Map(Values::SecretByName), Absent, "Headers of every request; not sent to another host after a redirect.").eg("{Accept: application/pdf}"),
    key("sources[].credentials", Entries, Absent, "Headers for certain hosts."),
    key("sources[].credentials[].host", Text, Required, "The host; `*.example.com` stands for its subdomains.").eg("files.example.com"),
    key("sources[].credentials[].headers", Map(Values::Secret), Required, "The headers for it.").eg("{Authorization: 'Bearer ${env:FILES_TOKEN}'}"),
    key("sources[].transient_statuses", Integers(400, 599), Is("[408, 429, 500, 502, 503, 504]"), "HTTP statuses that are worth another attempt."),
    key("sources[].retry", Times(1, 7 * DAY), Is("[5m, 10m, 20m, 40m]"), "The delay before each further attempt, rising; `[]` for none."),
    key("sources[].refresh", Feature, Absent, "An endpoint that gives a new URL for one whose signature has expired."),
    key("sources[].refresh.url", Text, Required, "Its URL; `{url}`, `{media_id}`, `{trace_id}`, `{source}` and columns are filled in.").eg("'https://api.example.com/sign?media={media_id}'"),
    key("sources[].refresh.method", Choice(METHODS), Is("POST"), "The method of the request."),
    key("sources[].refresh.headers", Map(Values::SecretByName), Absent, "Headers of the request.").eg("{Authorization: 'Bearer ${env:API_TOKEN}'}"),
    key("sources[].refresh.body", Text, Absent, "The body of the request, JSON; in its texts the same fields are filled in.").eg("'{\"url\": \"{url}\"}'"),
    key("sources[].refresh.url_at", Text, Is("url"), "Where the answer has the new URL, as JMESPath."),
    key("sources[].refresh.timeout", Time(100, HOUR), Is("10s"), "The longest wait for an answer."),
    key("sources[].refresh.max_in_flight", Integer(1, 1_024), Is("8"), "Requests at once."),
    key("sources[].refresh.allow_http", Flag, Is("false"), "Whether the endpoint may be asked over `http`."),
    key("sources[].refresh.allow_private", Texts, Is("[]"), "Private networks that the endpoint may be in.").eg("[10.1.0.0/16]"),
    key("sources[].enrich", Feature, Absent, "A request for each event that carries an id instead of URLs, made before there are tasks."),
    key("sources[].enrich.url", Text, Required, "Its URL; the `fields` are filled in.").eg("'https://api.example.com/claims/{claim}'"),
    key("sources[].enrich.method", Choice(METHODS), Is("GET"), "The method of the request."),
    key("sources[].enrich.headers", Map(Values::SecretByName), Absent, "Headers of the request.").eg("{Authorization: 'Bearer ${env:API_TOKEN}'}"),
    key("sources[].enrich.body", Text, Absent, "The body of the request, JSON; in its texts the same fields are filled in."),
    key("sources[].enrich.fields", Map(Values::Plain), Absent, "What of the event the URL and the body need, as JMESPath.").eg("{claim: data.claimId}"),
    key("sources[].enrich.attachments", Text, Depends("those of the event"), "Where the answer has the attachments, as JMESPath.").eg("'files[].{url: href, file_name: title}'"),
    key("sources[].enrich.columns", Map(Values::Plain), Absent, "Further columns from the answer, as JMESPath.").eg("{owner: claim.owner}"),
    key("sources[].enrich.timeout", Time(100, HOUR), Is("10s"), "The longest wait for an answer."),
    key("sources[].enrich.max_in_flight", Integer(1, 1_024), Is("16"), "Requests at once."),
    key("sources[].enrich.per_second", Integer(1, 1_000_000), Depends("no limit"), "Requests begun in a second.").eg("50"),
    key("sources[].enrich.retry", Times(1, DAY), Is("[1s, 5s, 30s]"), "The delay before each further attempt, rising; `[]` for none."),
    key("sources[].enrich.allow_http", Flag, Is("false"), "Whether the endpoint may be asked over `http`."),
    key("sources[].enrich.allow_private", Texts, Is("[]"), "Private networks that the endpoint may be in.").eg("[10.1.0.0/16]"),
    key("download", Section, Absent, "Bounds of downloading, over all sources."),
    key("download.max_in_flight", Integer(1, 65_536), Is("256"), "Downloads at once."),
    key("download.per_host", Integer(1, 65_536), Is("64"), "Downloads at once from one host, for each source."),
    key("download.memory", Size(192 * KIB, 64 * GIB), Is("48MiB"), "Memory for downloads under way; each takes 192 KiB or up to four times that, as there is room, whatever the size of its file."),
    key("download.timeouts", Section, Absent, "How long the parts of a download may take."),
    key("download.timeouts.connect", Time(1, HOUR), Is("5s"), "Resolving, dialling and TLS together."),
    key("download.timeouts.first_byte", Time(1, HOUR), Is("30s"), "From the request to the head of the answer."),
    key("download.timeouts.idle", Time(1, HOUR), Is("30s"), "The wait for the next bytes."),
    key("download.timeouts.total", Time(1, DAY), Is("30m"), "One attempt as a whole."),
    key("record", Section, Absent, "When rows are committed to the tables."),
    key("record.freshness", Time(10, HOUR), Is("300ms"), "The longest that a finished result waits for its row."),
    key("record.events_freshness", Time(10, HOUR), Is("10s"), "The longest that an event waits for its row."),
    key("record.max_rows", Integer(1, 1_000_000), Is("10000"), "The most rows in one commit."),
    key("http", Section, Absent, "The service's own HTTP server."),
    key("http.listen", Text, Is("127.0.0.1:9464"), "The address and port that it listens on."),
    key("http.token", Secret, Absent, "What callers show as `Authorization: Bearer …`; needed where others than this machine can connect.").eg("'${env:HTTP_TOKEN}'"),
    key("http.max_body", Size(KIB, GIB), Is("16MiB"), "The largest body of a request."),
    key("http.stalled_after", Time(SECOND, DAY), Is("2m"), "How long work may wait without anything being completed before `/health/ready` says that the service is not ready."),
    key("http.max_backlog", Integer(1, 1_000_000_000), Is("100000"), "How many events may wait in the log before senders are told to come later (429); the last body taken may go beyond it."),
];

impl Key {
    /// The last word of the path.
    pub fn name(&self) -> &'static str {
        let name = self.path.rsplit('.').next().unwrap_or(self.path);
        name.trim_end_matches("[]")
    }

    /// The path of the section that it stands in; empty at the top.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// The path of what is below it.
    pub(crate) fn inside(&self) -> String {
        if self.kind == Entries { format!("{}[]", self.path) } else { self.path.to_owned() }
    }

    /// Whether keys of ours are below it.
    pub(crate) fn is_section(&self) -> bool {
        matches!(self.kind, Section | Feature | Entries)
    }
}

/// The keys directly in a section.
pub(crate) fn keys_in(section: &str) -> impl Iterator<Item = &'static Key> + use<'_> {
    KEYS.iter().filter(move |key| key.parent() == section)
}

impl Kind {
    /// What one writes there, for people.
    pub fn spelled(&self) -> String {
        match self {
            Text => "text".to_owned(),
            Secret => "text, secret".to_owned(),
            Flag => "`true` or `false`".to_owned(),
            Choice(words) => words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "),
            Integer(least, most) => format!("number, {least} to {most}"),
            Time(least, most) => format!("time, {} to {}", spell_ms(*least), spell_ms(*most)),
            Size(least, most) => format!("size, {} to {}", spell_size(*least), spell_size(*most)),
            Texts => "list of texts".to_owned(),
            TextOrTexts => "text or list of texts".to_owned(),
            Integers(least, most) => format!("list of numbers, {least} to {most}"),
            Times(least, most) => format!("list of times, {} to {}", spell_ms(*least), spell_ms(*most)),
            Map(_) => "map of texts".to_owned(),
            Section | Feature => "section".to_owned(),
            Entries => "list of sections".to_owned(),
        }
    }
}

/// A number of milliseconds as one writes it.
pub(crate) fn spell_ms(ms: u64) -> String {
    longshore_stages::topics::spell_delay(std::time::Duration::from_millis(ms))
}

/// A number of bytes as one writes it.
pub(crate) fn spell_size(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (1 << 20, "MiB"), (KIB, "KiB")];
    let whole = units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}
