//! The named stages of a setup, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a setup can be when a party is killed.
    pub enum Stage {
        /// The bank: the epoch is noted, nothing was sent. A provider: the first round has come.
        Announce => "announce",
        /// The bank keeps everybody's announcement. A provider: the epoch is noted and logged.
        Begun => "begun",
        /// The bank keeps everybody's dealing. A provider has dealt.
        Dealt => "dealt",
        /// A provider's secrets are sealed, and the messages so far are kept; the bank does not pass it.
        KeysStored => "keys-stored",
        /// The bank keeps everybody's confirmation. A provider's own is logged.
        Confirmed => "confirmed",
        /// All confirmations agree; the epoch is not kept yet.
        Agreed => "agreed",
        /// The evidence is kept and logged.
        Finished => "finished",
    }
}
