//! The plugin as its users meet it: the built binary against a TLS server that plays the exchange, faults included.

#[cfg(test)]
mod allowed_exchange;
#[cfg(test)]
mod any_folder;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod cache_laws;
#[cfg(test)]
mod called_by_kubectl;
#[cfg(test)]
mod closed_pipe;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod core_dump;
#[cfg(test)]
mod dead_slots;
#[cfg(test)]
#[cfg(unix)]
mod distribution;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doctor_rules;
#[cfg(test)]
mod exec_protocol;
#[cfg(test)]
mod failure_memory;
#[cfg(test)]
mod failure_table;
#[cfg(test)]
mod failures;
#[cfg(test)]
#[cfg(unix)]
mod full_disk;
#[cfg(test)]
mod generate;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod hidden_prompt;
#[cfg(test)]
mod kept_key;
#[cfg(test)]
mod key_command;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kubeconfig;
#[cfg(test)]
mod kubeconfig_asked;
#[cfg(test)]
mod kubeconfig_at_once;
#[cfg(test)]
mod kubeconfig_conflicts;
#[cfg(test)]
mod kubeconfig_files;
#[cfg(test)]
mod kubeconfig_from_context;
#[cfg(test)]
mod kubeconfig_styles;
#[cfg(test)]
mod kubectl_errors;
#[cfg(test)]
mod login;
#[cfg(test)]
mod login_next_step;
#[cfg(test)]
mod manage;
#[cfg(test)]
mod merge_laws;
#[cfg(test)]
mod own_run;
#[cfg(test)]
mod parallel;
#[cfg(test)]
mod patch_laws;
#[cfg(test)]
mod played;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod refresh;
#[cfg(test)]
#[cfg(unix)]
mod refused_token;
#[cfg(test)]
mod retry_laws;
#[cfg(test)]
#[cfg(unix)]
mod shared_run;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod sign_of_life;
#[cfg(test)]
mod single_flight;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod stand_in_proxy;
#[cfg(test)]
mod text_edit_laws;
#[cfg(test)]
mod token_life_laws;
#[cfg(test)]
mod undeclared;
#[cfg(test)]
#[cfg(not(unix))]
mod unknown_client;
#[cfg(test)]
mod verbose;
#[cfg(test)]
mod whoami;
