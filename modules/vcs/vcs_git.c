/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>

#include "vcs_world.h"

#define ARGS_MAX    24
#define FETCH_CPU_S 3600
#define CHECK_CPU_S 300 /* a pack that takes longer is a bomb */
#define MEMORY      (INT64_C(4) << 30)

char *vcs_repo_dir(const struct vcs *v, const char *name)
{
    return mb_asprintf("%s/%s.git", v->dir, name);
}

int vcs_git_spawn(struct vcs *v, const struct vcs_git *git, struct mb_child **child, int pipes[3])
{
    const char *argv[ARGS_MAX] = {MB_GIT_PATH}, *env[20];
    size_t argc = 1, n = 0;
    char *dir = vcs_repo_dir(v, git->repo);
    char *git_dir = mb_asprintf("GIT_DIR=%s", dir), *objects = NULL, *alternates = NULL,
         *protocol = NULL;
    struct mb_error error = {0};
    vcs_repos_settle(v, git->repo);
    for (size_t i = 0; git->args[i] != NULL && argc + 1 < ARGS_MAX; i++)
        argv[argc++] = git->args[i];
    env[n++] = git_dir;
    env[n++] = "PATH=/usr/bin:/bin";
    env[n++] = "LC_ALL=C";
    env[n++] = "TZ=UTC";
    env[n++] = "HOME=/nonexistent";
    env[n++] = "GIT_CONFIG_NOSYSTEM=1";
    env[n++] = "GIT_CONFIG_GLOBAL=/dev/null";
    env[n++] = "GIT_TERMINAL_PROMPT=0";
    env[n++] = "GIT_ALLOW_PROTOCOL=none"; /* nothing that it does may dial */
    env[n++] = "GIT_USER_AGENT=git/2";
    if (git->quarantine != NULL) {
        env[n++] = objects = mb_asprintf("GIT_OBJECT_DIRECTORY=%s/objects", git->quarantine);
        env[n++] = alternates = mb_asprintf("GIT_ALTERNATE_OBJECT_DIRECTORIES=%s/objects", dir);
    }
    if (git->protocol != NULL)
        env[n++] = protocol = mb_asprintf("GIT_PROTOCOL=%s", git->protocol);
    env[n] = NULL;
    struct mb_child_spec spec = {
        .argv = argv,
        .env = env,
        .dir = dir,
        .std = {git->std[0], git->std[1], git->std[2]},
        .cpu_s = git->quarantine != NULL ? CHECK_CPU_S : FETCH_CPU_S,
        .memory_bytes = MEMORY,
        .exited = git->exited,
        .arg = git->arg,
    };
    int rc = mb_child_spawn(child, v->loop, &spec, pipes, &error);
    v->git_missing = rc != 0;
    if (rc != 0)
        mb_log(MB_LOG_ERROR, "vcs", "no_child", "code=%s", error.code);
    free(dir);
    free(git_dir);
    free(objects);
    free(alternates);
    free(protocol);
    return rc;
}
