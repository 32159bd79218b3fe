//! The joint score: groups, their epochs and tables, the call, and the life of models.
//!
//! What both organisations must compute alike is `windvane_protocols::score`, with the construction's page.
//! **Promised**: epochs only grow, a context has one table, and both are durable before anything leaves; nothing of a
//! setup or a publication is half active. **Not here**: how numbers become parts, which is training.

pub mod activation;
pub mod build;
pub mod card;
pub mod fetch;
pub mod folder;
pub mod monitor;
pub mod parts;
pub mod pending;
pub mod plan;
pub mod reaction;
pub mod registry;
mod segments;
pub mod serve_tables;
pub mod stability;
pub mod sum;
pub mod table;
pub mod table_stage;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
pub(crate) mod test_world;
