//! How the named stages of an operation are defined.
//!
//! A kill between two effects must leave what the next start understands. Every place where that matters has a name, so
//! that the crash tests can end the process at each of them (`WINDVANE_CRASH_AT`, in debug builds) and can tell from
//! `ALL` that they forgot none. What a stage has is the same for all operations, and is written here alone.

/// Defines an enum of stages, in the order in which they are reached.
///
/// ```text
/// stages! {
///     /// Where a delta can be when its provider is killed.
///     pub enum Stage {
///         /// The delta is in place; no log knows it.
///         Placed => "delta-placed",
///         /// The log has its entry.
///         Logged => "delta-logged",
///     }
/// }
/// ```
///
/// makes `Stage` with `ALL`, `name` and `Display`, and `reached` for the code to call when an effect is done: it writes
/// a line for debugging, and is where a crash test ends the process. A stage's name is what a crash test asks for, so no two stages
/// of the program may have the same.
///
/// `silent` before the enum's documentation is for stages that are reached too often for such lines: a release build
/// does nothing there.
macro_rules! stages {
    (@define $(#[$doc:meta])* $visibility:vis enum $name:ident {
        $($(#[$stage_doc:meta])* $stage:ident => $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        $visibility enum $name {
            $($(#[$stage_doc])* $stage,)+
        }

        impl $name {
            /// All stages, in their order.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$stage),+];

            /// The stage's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$stage => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
    (silent $(#[$doc:meta])* $visibility:vis enum $name:ident { $($stages:tt)+ }) => {
        $crate::stages::stages! { @define $(#[$doc])* $visibility enum $name { $($stages)+ } }

        impl $name {
            /// Tells that this stage is reached.
            #[inline]
            pub(crate) fn reached(self) {
                #[cfg(debug_assertions)]
                $crate::crash::at(self.name());
            }
        }
    };
    ($(#[$doc:meta])* $visibility:vis enum $name:ident { $($stages:tt)+ }) => {
        $crate::stages::stages! { @define $(#[$doc])* $visibility enum $name { $($stages)+ } }

        impl $name {
            /// Tells that this stage is reached.
            pub(crate) fn reached(self) {
                tracing::debug!(stage = self.name(), "a stage is reached");
                #[cfg(debug_assertions)]
                $crate::crash::at(self.name());
            }
        }
    };
}

pub(crate) use stages;
