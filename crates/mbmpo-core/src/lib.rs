//! The shared words of mbmpo: environments, tasks, dynamics models, policies, algorithms, random streams.
