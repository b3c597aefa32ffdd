//go:build e2e && linux

package e2e

import (
	"context"
	"encoding/json"
	"testing"
)

// docker is a running dockerd whose mirror of Docker Hub is ours.
type docker struct {
	*process
	env []string
}

func startDocker(t *testing.T, mirror string) *docker {
	t.Helper()
	dir := directory(t)
	config, err := json.Marshal(map[string]any{
		"data-root": dir + "/data", "exec-root": dir + "/exec", "pidfile": dir + "/pid",
		"hosts": []string{"unix://" + dir + "/d.sock"}, "iptables": false, "bridge": "none",
		"storage-driver": "overlay2", "cgroup-parent": "/" + groupName(),
		"registry-mirrors": []string{"http://" + mirror},
	})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/daemon.json", string(config))
	t.Cleanup(func() { unmountUnder(t, dir); removeGroups() })
	d := &docker{env: []string{"DOCKER_HOST=unix://" + dir + "/d.sock", "DOCKER_CONFIG=" + dir + "/client"}}
	d.process = launch(t, here, dir, nil, "dockerd", "--config-file", dir+"/daemon.json")
	d.await(t, "its socket", func(context.Context) error {
		_, err := try(t, d.env, "docker", "info")
		return err
	})
	return d
}

func (d *docker) run(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, d.env, append([]string{"docker"}, args...)...)
}

// dockerImage is what inspect says of an image; podman says the same.
type dockerImage struct {
	ID          string `json:"Id"`
	RepoDigests []string
	RootFS      struct{ Layers []string }
}

func parseInspect(t *testing.T, text string) dockerImage {
	t.Helper()
	var images []dockerImage
	if err := json.Unmarshal([]byte(text), &images); err != nil || len(images) != 1 {
		t.Fatalf("inspect: %v: %s", err, text)
	}
	return images[0]
}
