//go:build linux

package cri

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodConfig describes a pod.
type PodConfig struct {
	Name    string // no other pod of the engine has it
	LogDir  string // of its containers' logs
	Cgroups string // the control group above its own; empty is the engine's default
}

// Pod is a pod that runs.
type Pod struct {
	ID     string
	client *Client
	config *runtime.PodSandboxConfig
}

// RunPod runs a pod with no containers.
func (c *Client) RunPod(ctx context.Context, pod PodConfig) (*Pod, error) {
	config := &runtime.PodSandboxConfig{
		Metadata:     &runtime.PodSandboxMetadata{Name: pod.Name, Uid: pod.Name, Namespace: "default"},
		LogDirectory: pod.LogDir,
		Linux: &runtime.LinuxPodSandboxConfig{
			CgroupParent:    pod.Cgroups,
			SecurityContext: &runtime.LinuxSandboxSecurityContext{NamespaceOptions: namespaces()},
		},
	}
	answer, err := c.runtime.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: config})
	if err != nil {
		return nil, fmt.Errorf("CRI RunPodSandbox %s: %w", pod.Name, err)
	}
	return &Pod{ID: answer.GetPodSandboxId(), client: c, config: config}, nil
}

// namespaces are a pod's own but for the network.
func namespaces() *runtime.NamespaceOption {
	return &runtime.NamespaceOption{Network: runtime.NamespaceMode_NODE, Pid: runtime.NamespaceMode_CONTAINER}
}

// removals is how often a removal is asked for: an engine fails to stop what ends at
// that moment by itself, and kubelets ask again.
const removals = 5

// Remove stops the pod with all its containers, and removes them.
func (p *Pod) Remove(ctx context.Context) (err error) {
	for range removals {
		if err = p.remove(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * poll):
		}
	}
	return err
}

func (p *Pod) remove(ctx context.Context) error {
	_, err := p.client.runtime.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: p.ID})
	if err == nil {
		_, err = p.client.runtime.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: p.ID})
	}
	if err != nil {
		return fmt.Errorf("removing pod %s: %w", p.config.GetMetadata().GetName(), err)
	}
	return nil
}

// ContainerConfig describes a container of a pod.
type ContainerConfig struct {
	Name    string // no other container of the pod has it
	Image   string // as it was pulled
	Command []string
	Env     []string // NAME=value
	Dir     string   // in which it starts; empty is the image's
}

// Create makes a container that does not run yet.
func (p *Pod) Create(ctx context.Context, config ContainerConfig) (*Container, error) {
	var env []*runtime.KeyValue
	for _, variable := range config.Env {
		name, value, _ := strings.Cut(variable, "=")
		env = append(env, &runtime.KeyValue{Key: name, Value: []byte(value)})
	}
	log := config.Name + ".log"
	answer, err := p.client.runtime.CreateContainer(ctx, &runtime.CreateContainerRequest{
		PodSandboxId:  p.ID,
		SandboxConfig: p.config,
		Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: config.Name},
			Image:    &runtime.ImageSpec{Image: config.Image},
			Command:  config.Command, Envs: env, WorkingDir: config.Dir, LogPath: log,
			Linux: &runtime.LinuxContainerConfig{
				SecurityContext: &runtime.LinuxContainerSecurityContext{NamespaceOptions: namespaces()},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("CRI CreateContainer %s of %s: %w", config.Name, config.Image, err)
	}
	return &Container{ID: answer.GetContainerId(), client: p.client, log: filepath.Join(p.config.GetLogDirectory(), log)}, nil
}

// Start makes a container and starts it.
func (p *Pod) Start(ctx context.Context, config ContainerConfig) (*Container, error) {
	c, err := p.Create(ctx, config)
	if err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}
