//! What PostgreSQL says when something fails, in our words: short, and without any value that was sent.

use super::super::StoreError;
use super::tls::TlsError;
use std::error::Error as _;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// An accident while something was asked.
pub(super) fn fault(error: &Error) -> StoreError {
    StoreError::Unavailable(words(error))
}

/// One sentence. PostgreSQL's details are left out: they repeat values.
pub(super) fn words(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        if next.downcast_ref::<TlsError>().is_some() {
            return next.to_string();
        }
        text = format!("{text}: {next}");
        cause = next.source();
    }
    if text.contains("server does not support TLS") {
        return "it offers no TLS: switch it on there (`ssl = on`), or, where nobody can listen, write sslmode=disable"
            .to_owned();
    }
    text
}

/// Whether the connection is of no more use: it is cut, its server goes down, or takes no writes any more.
pub(super) fn lost(error: &Error) -> bool {
    match error.code() {
        None => true,
        Some(code) => {
            *code == SqlState::READ_ONLY_SQL_TRANSACTION
                || *code == SqlState::ADMIN_SHUTDOWN
                || *code == SqlState::CRASH_SHUTDOWN
                || *code == SqlState::CANNOT_CONNECT_NOW
                || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                || code.code().starts_with("08")
        }
    }
}

/// Whether this may pass by itself: a server that is starting, stopping or has too much to do, a name that is not known
/// for a while, a network that is away. A wrong password or database does not, nor what its certificate says. A typing error in a name looks
/// like a fault of the DNS, and is waited for, too.
pub(super) fn starts(error: &Error) -> bool {
    match error.code() {
        Some(code) => {
            *code == SqlState::CANNOT_CONNECT_NOW
                || *code == SqlState::TOO_MANY_CONNECTIONS
                || *code == SqlState::ADMIN_SHUTDOWN
                || *code == SqlState::CRASH_SHUTDOWN
        }
        // What TLS and authentication say has other sources.
        None => error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>()),
    }
}

/// Whether it waited for a lock for as long as it was to.
pub(super) fn locked(error: &Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Why something that was asked has no answer.
pub(super) enum Trouble {
    /// It could not be asked, or was refused.
    Asking(Error),
    /// What came back makes no sense.
    Store(StoreError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Asking(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}
