//! The joint score in an operator's hands.

mod setup;
