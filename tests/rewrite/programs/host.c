/* Opens the plugin that lies beside it, and runs its main. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    char path[4096];
    const char *slash = strrchr(argv[0], '/');
    snprintf(path, sizeof path, "%.*splugin.so", slash ? (int)(slash - argv[0] + 1) : 0, argv[0]);
    void *plugin = dlopen(path, RTLD_NOW);
    int (*run)(int, char **) = plugin ? (int (*)(int, char **))dlsym(plugin, "plugin_main") : NULL;
    if (!run) {
        puts(dlerror());
        return 1;
    }
    int status = run(argc, argv);
    return dlclose(plugin) ? 1 : status;
}
