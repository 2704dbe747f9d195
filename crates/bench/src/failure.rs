//! Why a run of the suite did not come about, or did not go on.

use std::io;

use longshore_stages::ports::LogError;

/// Why a run did not come about, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense; says what does.
    #[error("{0}")]
    Usage(String),
    /// The machine lacks something; says what, and the remedy.
    #[error("{0}")]
    Missing(String),
    /// A file, a directory, a process.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried, and with what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A command that ended otherwise than it should; with its last words.
    #[error("{command} {said}")]
    Command {
        /// What was run.
        command: String,
        /// How it ended.
        said: String,
    },
    /// A worker that ended although nobody asked it to; with its last words.
    #[error("{name} ended unasked: {said}")]
    Died {
        /// Its name.
        name: String,
        /// How it ended.
        said: String,
    },
    /// What was waited for did not come in time.
    #[error("{0}")]
    Late(String),
    /// The log.
    #[error("the log: {0}")]
    Log(#[from] LogError),
    /// The generator, the origin, or the reader.
    #[error(transparent)]
    Actor(#[from] crate::Error),
}

impl Failure {
    /// An error of the system while doing something.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Failure::Io { doing, source }
    }
}
