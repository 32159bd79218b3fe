//! The joint score: groups, their epochs and tables, the call, and the life of models.
//!
//! What both organisations must compute alike is `windvane_protocols::score`, with the construction's page.
//! **Promised**: epochs only grow, a context has one table, and both are durable before anything leaves; nothing of a
//! setup or a publication is half active. **Not here**: how numbers become parts, which is training.

pub mod card;
pub mod evidence;
pub mod folder;
pub mod member;
pub mod members;
pub mod plan;
pub mod refusal;
pub mod rounds;
pub mod serve_tables;
pub mod setup;
mod stage;
pub mod status;
pub mod universe;

pub use stage::Stage;
