/* commands.h: the subcommands of `weir`. Each takes its own arguments, argv[0] being its name, and
 * returns the exit code of the process (enum cli_exit). */
#ifndef COMMANDS_H
#define COMMANDS_H

int cmd_node(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_recv(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_id(int argc, char **argv);
int cmd_ban(int argc, char **argv);
int cmd_unban(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_sim(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_top(int argc, char **argv);

/* One process of `weir demo`; not for users, and not in the help. */
int cmd_demo_node(int argc, char **argv);

#endif
