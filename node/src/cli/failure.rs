//! Why a command ended badly: a stable code and advice.

use std::borrow::Cow;
use std::io;

use windvane::batch::BatchError;
use windvane::config::ConfigError;
use windvane::demo::DemoError;
use windvane::error::NodeError;
use windvane::http::Problem;
use windvane::psi::PsiError;
use windvane::screen::ScreenError;
use windvane::train::run::TrainError;
use windvane_protocols::party::SessionId;

/// A command's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Failure {
    /// From the library.
    #[error(transparent)]
    Node(Box<NodeError>),
    /// From a running node's REST interface.
    #[error(transparent)]
    Rest(Box<Problem>),
    /// From a file of customers.
    #[error(transparent)]
    Batch(Box<BatchError>),
    /// From a set intersection.
    #[error("{error}{}", .job.map(|job| format!(" (job {job})")).unwrap_or_default())]
    Psi {
        /// What went wrong.
        error: Box<PsiError>,
        /// Which job, where there is one.
        job: Option<SessionId>,
    },
    /// From a training.
    #[error("{error}{}", .training.map(|training| format!(" (training {training})")).unwrap_or_default())]
    Train {
        /// What went wrong.
        error: Box<TrainError>,
        /// Which training, where there is one.
        training: Option<SessionId>,
    },
    /// From a screening.
    #[error(transparent)]
    Screen(Box<ScreenError>),
    /// From the demonstration.
    #[error(transparent)]
    Demo(Box<DemoError>),
}

impl Failure {
    /// Something that the operator gave does not fit.
    pub(super) fn given(code: &'static str, message: impl Into<String>) -> Self {
        NodeError::Given { code, message: message.into() }.into()
    }

    /// A file or another thing of the system.
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        NodeError::Io { what: what.into(), source }.into()
    }

    /// From a running node.
    pub(super) fn rest(problem: Problem) -> Self {
        Self::Rest(Box::new(problem))
    }

    /// From a file of customers.
    pub(super) fn batch(error: BatchError) -> Self {
        Self::Batch(Box::new(error))
    }

    /// From a set intersection.
    pub(super) fn psi(job: Option<SessionId>) -> impl Fn(PsiError) -> Self {
        move |error| Self::Psi { error: Box::new(error), job }
    }

    /// From a training.
    pub(super) fn train(training: Option<SessionId>) -> impl Fn(TrainError) -> Self {
        move |error| Self::Train { error: Box::new(error), training }
    }

    /// From a screening.
    pub(super) fn screen(error: ScreenError) -> Self {
        Self::Screen(Box::new(error))
    }

    /// From the demonstration.
    pub(super) fn demo(error: DemoError) -> Self {
        Self::Demo(Box::new(error))
    }

    /// The stable code.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Node(error) => error.code(),
            Self::Rest(problem) => &problem.code,
            Self::Batch(error) => error.code(),
            Self::Psi { error, .. } => error.code(),
            Self::Train { error, .. } => error.code(),
            Self::Screen(error) => error.code(),
            Self::Demo(error) => error.code(),
        }
    }

    /// What was wrong and what to do, without the code.
    pub(super) fn advice(&self) -> Cow<'_, str> {
        match self {
            Self::Rest(problem) => format!("{}; {}", problem.message, problem.advice).into(),
            Self::Node(error) => match &**error {
                NodeError::Peer(peer) => Cow::Borrowed(&peer.message),
                NodeError::Config(error @ ConfigError::Read { .. }) => {
                    format!("{error}; name the file with --config or WINDVANE_CONFIG").into()
                }
                other => other.to_string().trim_end().to_owned().into(),
            },
            Self::Batch(error) => error.to_string().into(),
            Self::Psi { .. } | Self::Train { .. } => self.to_string().into(),
            Self::Screen(error) => error.to_string().into(),
            Self::Demo(error) => error.to_string().into(),
        }
    }
}

impl<E: Into<NodeError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Node(Box::new(error.into()))
    }
}
